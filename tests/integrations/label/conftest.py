"""Tests of the MONAI Label app are skipped, with the reason, where MONAI Label is not installed."""

from __future__ import annotations

from pathlib import Path

import pytest
from label_server import missing_label_server

HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = missing_label_server()
    for item in items:
        if reason and HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))
