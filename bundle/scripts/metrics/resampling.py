"""Resampling: bootstrap intervals for one system, and paired tests between two.

What is resampled are groups of images that hang together (a datalist's `group`: one case, one patient), drawn and
exchanged whole (cluster bootstrap; Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8):
images of one case are right and wrong together, and drawn one by one they would make intervals too narrow. Without
groups each image is one of its own. Every draw weighs rows of a `Statistic`, so corpus scores such as BLEU-4 are
recomputed exactly in each resample. Paired tests use the same images for both systems, which is what makes small
differences visible.

Shape legend: N images, G groups.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from scripts.errors import InputError
from scripts.metrics.statistic import Statistic

RESAMPLES = 1000
LEVEL = 0.95
_CHUNK = 200  # resamples held in memory at a time

Groups = Sequence[Hashable | None]
"""The group of each of N images; an image with None is a group of its own."""


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
        p_value: two-sided p of the paired permutation test (systems exchanged group by group).
    """

    difference: float
    low: float
    high: float
    p_value: float


def group_numbers(images: int, groups: Groups | None = None) -> np.ndarray:
    """The number `[N]` of each image's group, 0 to G - 1 in the order in which groups come.

    Raises:
        InputError: there is not one entry an image.
    """
    if groups is None:
        return np.arange(images)
    if len(groups) != images:
        raise InputError(f"{len(groups)} groups for {images} images: give one an image, None where it has none")
    numbers: dict[Hashable, int] = {}
    keys = [("alone", i) if group is None else ("group", group) for i, group in enumerate(groups)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], int)


def unit_of(images: int, groups: Groups | None) -> dict[str, str | int]:
    """What intervals are made over, for the record: groups and how many, or images where none are known."""
    count = len(set(group_numbers(images, groups).tolist()))
    return {"unit": "image" if groups is None else "group", "units": count}


def draw_weights(images: int, resamples: int, seed: int, groups: Groups | None = None) -> Iterator[np.ndarray]:
    """How often each image is drawn, `[<=200, N]` at a time: as often as its group, G groups being drawn of G.

    The same for every score of the same seed.
    """
    numbers = group_numbers(images, groups)
    count = len(np.unique(numbers))
    generator = np.random.default_rng(seed)
    even = np.full(count, 1.0 / count)
    for start in range(0, resamples, _CHUNK):
        drawn = generator.multinomial(count, even, size=min(_CHUNK, resamples - start))
        yield drawn.astype(float)[:, numbers]


def _bounds(draws: np.ndarray, level: float) -> tuple[float, float]:
    draws = draws[np.isfinite(draws)]
    if not len(draws):
        return float("nan"), float("nan")
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bootstrap(
    statistic: Statistic,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
    groups: Groups | None = None,
) -> Interval:
    """The score with its percentile bootstrap interval over groups, or over images where none are given."""
    images = len(statistic.rows)
    if images == 0 or resamples <= 0:
        return Interval(statistic.value if images else float("nan"), float("nan"), float("nan"))
    draws = [statistic.finish(weights @ statistic.rows) for weights in draw_weights(images, resamples, seed, groups)]
    return Interval(statistic.value, *_bounds(np.concatenate(draws), level))


def compare(
    first: Statistic,
    second: Statistic,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
    groups: Groups | None = None,
) -> Comparison:
    """Paired bootstrap interval and paired permutation test of `second` minus `first`, by groups where given.

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
    numbers = group_numbers(len(first.rows), groups)
    count = len(np.unique(numbers))
    for weights in draw_weights(len(first.rows), resamples, seed, groups):
        draws.append(second.finish(weights @ second.rows) - first.finish(weights @ first.rows))
        swap = signs.integers(0, 2, size=(len(weights), count)).astype(float)[:, numbers]
        one = (1 - swap) @ first.rows + swap @ second.rows
        other = swap @ first.rows + (1 - swap) @ second.rows
        extreme += int((np.abs(second.finish(other) - first.finish(one)) >= abs(difference) - 1e-12).sum())
    return Comparison(difference, *_bounds(np.concatenate(draws), level), (extreme + 1) / (resamples + 1))
