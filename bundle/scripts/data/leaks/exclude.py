"""Leaving out of a new datalist what stands in others."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scripts.data.leaks.bank import Bank, same_images
from scripts.data.leaks.leak_report import section_banks

logger = logging.getLogger(__name__)


class Excluder:
    """Says which entries of a list show an image of one of other datalists, or are of one article with it.

    Args:
        datalists: the others; their images lie relative to their own folders.
        progress: show progress bars.
    """

    def __init__(self, datalists: Sequence[str | Path], *, progress: bool = True) -> None:
        self.datalists, self.progress = [Path(file) for file in datalists], progress

    def __call__(self, root: Path, entries: Sequence[dict[str, Any]]) -> np.ndarray:
        """Whether to leave out each entry, bool `[N]`; paths of ``entries`` are relative to ``root``."""
        own = Bank(_Rooted(root, entries), progress=self.progress)
        chosen = np.zeros(len(entries), bool)
        for file in self.datalists:
            for section, bank in section_banks(file, None, progress=self.progress).items():
                found = same_images(own, bank)
                chosen[[pair.first for pair in found]] = True
                logger.info("%d entries stand in %s %s", len({pair.first for pair in found}), file, section)
        return chosen


class _Rooted(Sequence[dict[str, Any]]):
    """Entries with absolute paths, made one at a time."""

    def __init__(self, root: Path, entries: Sequence[dict[str, Any]]) -> None:
        self.root, self.entries = root, entries

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: Any) -> Any:
        entry = self.entries[index]
        image = entry["image"]
        paths = [str(self.root / name) for name in ([image] if isinstance(image, str) else image)]
        return {**entry, "image": paths[0] if isinstance(image, str) else paths}
