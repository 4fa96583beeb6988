"""How sure a score is: bootstrap intervals for one system, and paired tests between two.

Images are the unit that is resampled. Every draw weighs rows of a `Statistic`, so corpus scores such as BLEU-4 are
recomputed exactly in each resample. Paired tests use the same images for both systems, which is what makes small
differences visible.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from .statistic import Statistic

RESAMPLES = 1000
LEVEL = 0.95
_CHUNK = 200  # resamples held in memory at a time


@dataclass(frozen=True)
class Interval:
    """A score with the bounds of its percentile bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """A difference between two systems on the same images.

    Args:
        difference: second minus first.
        low, high: bounds of its paired bootstrap interval.
        p_value: two-sided p of the paired permutation test (systems exchanged image by image).
    """

    difference: float
    low: float
    high: float
    p_value: float


def draw_weights(images: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each image is drawn, `[<=200, N]` at a time; the same for every score of the same seed."""
    generator = np.random.default_rng(seed)
    even = np.full(images, 1.0 / images)
    for start in range(0, resamples, _CHUNK):
        yield generator.multinomial(images, even, size=min(_CHUNK, resamples - start)).astype(float)


def _bounds(draws: np.ndarray, level: float) -> tuple[float, float]:
    draws = draws[np.isfinite(draws)]
    if not len(draws):
        return float("nan"), float("nan")
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bootstrap(statistic: Statistic, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0) -> Interval:
    """The score with its percentile bootstrap interval over images."""
    images = len(statistic.rows)
    if images == 0 or resamples <= 0:
        return Interval(statistic.value if images else float("nan"), float("nan"), float("nan"))
    draws = [statistic.finish(weights @ statistic.rows) for weights in draw_weights(images, resamples, seed)]
    return Interval(statistic.value, *_bounds(np.concatenate(draws), level))


def compare(
    first: Statistic, second: Statistic, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> Comparison:
    """Paired bootstrap interval and paired permutation test of `second` minus `first`.

    Raises:
        InputError: the two do not score the same number of images.
    """
    if first.rows.shape != second.rows.shape:
        raise InputError(
            f"{first.name}: {len(first.rows)} and {len(second.rows)} images cannot be compared in pairs; "
            "score both systems on the same images"
        )
    difference = second.value - first.value
    draws, extreme = [], 0
    signs = np.random.default_rng(seed + 1)
    for weights in draw_weights(len(first.rows), resamples, seed):
        draws.append(second.finish(weights @ second.rows) - first.finish(weights @ first.rows))
        swap = signs.integers(0, 2, size=weights.shape).astype(float)
        one = (1 - swap) @ first.rows + swap @ second.rows
        other = swap @ first.rows + (1 - swap) @ second.rows
        extreme += int((np.abs(second.finish(other) - first.finish(one)) >= abs(difference) - 1e-12).sum())
    return Comparison(difference, *_bounds(np.concatenate(draws), level), (extreme + 1) / (resamples + 1))
