"""Tests kill processes, never the machine: flushing files to the disk would only make them slow."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def _no_flush(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "test_atomic" not in request.node.nodeid:
        monkeypatch.setattr(os, "fsync", lambda _: None)
