"""Nested containers of tensors, compared to the last bit."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch


def assert_equal(first: Any, second: Any, ignored: Collection[str] = (), path: str = "") -> None:
    """Bitwise equality of dicts, lists and tensors; entries named in ``ignored`` (times of day) may differ."""
    assert type(first) is type(second) or isinstance(first, int | float), path
    if isinstance(first, dict):
        assert list(first) == list(second), path
        for key in first:
            if key not in ignored:
                assert_equal(first[key], second[key], ignored, f"{path}/{key}")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), path
        for index, (one, other) in enumerate(zip(first, second, strict=True)):
            assert_equal(one, other, ignored, f"{path}/{index}")
    elif isinstance(first, torch.Tensor):
        assert torch.equal(first, second), path
    else:
        assert first == second, path
