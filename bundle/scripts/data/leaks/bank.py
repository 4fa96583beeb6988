"""Fingerprints of a list of entries, and the pairs of two such banks that show the same image."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm import tqdm

from scripts.data.datalist import image_paths
from scripts.data.leaks.archive_ids import archive_ids
from scripts.data.leaks.fingerprints import SIDE, Fingerprint, agreement, coarse_variants, fingerprint
from scripts.errors import InputError

ALIKE = 0.70
"""Coarse vectors with at least this cosine are compared in detail."""
SAME = 0.80
"""Details that agree by at least this much are one image; ``benchmarks/leaks.py`` says how often that is wrong."""
NEAREST = 10
"""So many of the most alike are compared in detail, for each image."""
_BLOCK = 512


@dataclass(frozen=True)
class Pair:
    """Two entries, by their numbers, that show one image; ``kind`` says how that is known, ``score`` how surely."""

    first: int
    second: int
    kind: str
    score: float


@dataclass
class Bank:
    """Fingerprints of entries whose images are absolute paths; 4 KiB an image on the disk, 252 bytes in memory.

    Args:
        entries: the cases.
        workers: threads that read images.
        progress: show a progress bar.
    """

    entries: Sequence[dict[str, Any]]
    workers: int = 2
    progress: bool = False
    owners: list[int] = field(default_factory=list)
    contents: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the bank)
        for owner, found in self._fingerprints():
            if isinstance(found, str):
                self.unreadable.append(found)
                continue
            self._file.write(found.detail.tobytes())
            self.owners.append(owner)
            self.contents.append(found.content)
        self._file.flush()
        shape = (len(self.owners), SIDE, SIDE)
        self.details = np.memmap(self._file, np.uint8, "r", shape=shape) if self.owners else np.zeros(shape, np.uint8)
        self.coarse = self._coarse()

    def _fingerprints(self) -> Iterator[tuple[int, Fingerprint | str]]:
        jobs = ((number, path) for number, entry in enumerate(self.entries) for path in image_paths(entry))
        with ThreadPoolExecutor(self.workers) as pool, tqdm(
            total=len(self.entries), desc="fingerprints", unit="entry", disable=not self.progress
        ) as bar:  # fmt: skip
            block: list[tuple[int, str]] = []
            for job in jobs:
                block.append(job)
                if len(block) == _BLOCK:
                    yield from pool.map(_looked_at, block)
                    bar.update(block[-1][0] - bar.n)
                    block = []
            yield from pool.map(_looked_at, block)

    def _coarse(self) -> np.ndarray:
        """Coarse vectors `[M, 63]` of all images."""
        blocks = [
            coarse_variants(np.asarray(self.details[start : start + _BLOCK]), all_crops=False)[:, 0]
            for start in range(0, len(self.owners), _BLOCK)
        ]
        return np.concatenate(blocks) if blocks else np.zeros((0, 63), np.float32)


def _looked_at(job: tuple[int, str]) -> tuple[int, Fingerprint | str]:
    number, path = job
    try:
        return number, fingerprint(path)
    except InputError as error:
        return number, str(error)


def same_images(first: Bank, second: Bank) -> list[Pair]:
    """Pairs of an entry of each bank that show one image: the surest kind of evidence for each pair.

    Kinds, from the surest: ``content`` (equal bytes), ``archive image`` (equal number in an archive), ``look`` (equal
    but for size, compression, a crop of a few per cent, or window), ``archive article`` (figures of one article, which
    need not be the same).
    """
    pairs: dict[tuple[int, int], Pair] = {}
    for pair in (*_equal_contents(first, second), *_equal_numbers(first, second, "image"),
                 *_equal_looks(first, second), *_equal_numbers(first, second, "article")):  # fmt: skip
        pairs.setdefault((pair.first, pair.second), pair)
    return sorted(pairs.values(), key=lambda pair: (pair.first, pair.second))


def _equal_contents(first: Bank, second: Bank) -> Iterator[Pair]:
    known = defaultdict(list)
    for owner, content in zip(second.owners, second.contents, strict=True):
        known[content].append(owner)
    for owner, content in zip(first.owners, first.contents, strict=True):
        yield from (Pair(owner, other, "content", 1.0) for other in known.get(content, ()))


def _equal_numbers(first: Bank, second: Bank, kind: str) -> Iterator[Pair]:
    known = defaultdict(list)
    for number, entry in enumerate(second.entries):
        for name in archive_ids(entry)[kind]:
            known[name].append(number)
    for number, entry in enumerate(first.entries):
        for name in archive_ids(entry)[kind]:
            yield from (Pair(number, other, f"archive {kind}", 1.0) for other in known.get(name, ()))


def _equal_looks(first: Bank, second: Bank) -> Iterator[Pair]:
    if not len(second.owners):
        return
    for start in range(0, len(first.owners), 64):
        details = np.asarray(first.details[start : start + 64])
        alike = _likeness(coarse_variants(details, all_crops=True), second.coarse)
        nearest = min(NEAREST, alike.shape[1])
        for row, likeness in enumerate(alike):
            for column in np.argpartition(-likeness, nearest - 1)[:nearest]:
                if likeness[column] < ALIKE:
                    continue
                score = agreement(details[row], np.asarray(second.details[column]))
                if score >= SAME:
                    yield Pair(first.owners[start + row], second.owners[int(column)], "look", score)


def _likeness(variants: np.ndarray, coarse: np.ndarray) -> np.ndarray:
    """The greatest cosine `[N, M]` of any variant `[N, K, 63]` with each vector `[M, 63]`."""
    best = variants[:, 0] @ coarse.T
    for number in range(1, variants.shape[1]):
        np.maximum(best, variants[:, number] @ coarse.T, out=best)
    return best
