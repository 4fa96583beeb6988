"""Jobs of a feature cache that are still to encode: places in the items, so that a datalist on the disk stays there."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

Job = tuple[dict[str, Any], int, str]


class CacheJobs(Sequence[Job]):
    """Jobs ``(item, view, key)`` by their numbers; an item is read when its job is asked for.

    Args:
        items: the cases.
    """

    def __init__(self, items: Sequence[dict[str, Any]]) -> None:
        self._items = items
        self._numbers, self._views = array("q"), array("l")
        self._keys: list[str] = []

    def add(self, number: int, view: int, key: str) -> None:
        """Add the job of ``items[number]``."""
        self._numbers.append(number)
        self._views.append(view)
        self._keys.append(key)

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index: Any) -> Any:
        return self._items[self._numbers[index]], self._views[index], self._keys[index]
