"""Corpus scores as sums: one row an image, and a function of the sum of rows.

BLEU sums n-gram counts and divides afterwards; ROUGE-L sums scores and takes the mean. Written this way one piece of
code gives the score, its bootstrap interval, and a paired test between two systems, and several processes need only
exchange rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class Statistic:
    """A corpus score in parts.

    Args:
        name: what the score is called in tables.
        rows: `[N, K]`, what each of N images adds.
        finish: maps sums of rows `[..., K]` to scores `[...]`.
        note: what a reader must know to compare the number (beta, clipping, units).
    """

    name: str
    rows: np.ndarray
    finish: Callable[[np.ndarray], np.ndarray]
    note: str = ""

    @property
    def value(self) -> float:
        """The score of the whole corpus."""
        return float(self.finish(self.rows.sum(axis=0)))

    @property
    def per_image(self) -> np.ndarray:
        """The score `[N]` that each image would have as a corpus of its own."""
        return np.asarray(self.finish(self.rows), float)

    @property
    def count(self) -> int:
        """Number of images that the score counts (rows that are all zero count nothing)."""
        return int(np.any(self.rows != 0, axis=1).sum()) if self.rows.size else 0


class Single(NamedTuple):
    """A corpus score that is no function of sums over images, and so has no interval."""

    name: str
    value: float
    note: str = ""


CorpusScore = Statistic | Single


def _ratio(sums: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums[..., 0] / sums[..., 1]


def mean_statistic(name: str, scores: Sequence[float] | np.ndarray, note: str = "") -> Statistic:
    """A score that is the mean of one number an image; NaN marks an image that it does not count."""
    scores = np.asarray(scores, float)
    counted = np.isfinite(scores)
    return Statistic(name, np.stack([np.where(counted, scores, 0.0), counted.astype(float)], axis=1), _ratio, note)
