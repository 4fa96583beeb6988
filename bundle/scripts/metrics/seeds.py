"""Scores of a method trained with several seeds: intervals that hold for new images and for new seeds.

The score of an arm is the mean over its S seeds. Two things would differ in another experiment, and both count:

* other seeds: the variance of the S scores (on the same images), divided by S, with S - 1 degrees of freedom;
* other images: the variance of the mean over seeds in a bootstrap over groups of images (see `resampling`; without
  groups each image is one), the same draw for every seed (and for both arms of a difference), with G - 1 degrees of
  freedom.

Their sum is the squared standard error, and a Student t quantile with Welch and Satterthwaite's degrees of freedom
(Biometrics Bulletin 2:110, 1946) makes the interval. A percentile bootstrap over seeds would not do: from three seeds
it never leaves the range of three numbers, and covers far less than 95 %. What one seed gets right on one image by
chance is in both parts, so that the interval is, if anything, a little wide.

Shape legend: S seeds, N images, G groups of them, K parts of a statistic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student_t

from scripts.errors import InputError
from scripts.metrics.resampling import LEVEL, RESAMPLES, Groups, draw_weights, group_numbers
from scripts.metrics.statistic import Statistic

_ROUNDING = 1e-6  # below this, scores that are equal on every draw differ by rounding (BLEU of nothing is 1e-9)


@dataclass(frozen=True)
class SeedInterval:
    """A mean over seeds, or a difference of two, with its interval.

    Args:
        value: the mean or the difference.
        low, high: bounds; NaN where nothing can be said (one seed and no images behind it).
        seeds: S, of the arm with fewer.
        seed_error: standard error from seeds; NaN with one seed, and then the interval is of images only.
        image_error: standard error from images; NaN for a score that has no images behind it.
    """

    value: float
    low: float
    high: float
    seeds: int
    seed_error: float
    image_error: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of 0."""
        return self.low > _ROUNDING or self.high < -_ROUNDING


def seed_interval(
    statistics: Sequence[Statistic],
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
    groups: Groups | None = None,
) -> SeedInterval:
    """Mean over seeds of one score.

    Args:
        statistics: S statistics of the same N images in the same order, rows ``[N, K]``.
        resamples: bootstrap draws over groups.
        level: of the interval.
        seed: of the draws.
        groups: of each of the N images; without, each is its own.

    Raises:
        InputError: there is none, or they are not of the same images.
    """
    images = _image_count(statistics)
    values = [statistic.value for statistic in statistics]
    freedom = _group_count(images, groups) - 1
    parts = [*_seed_part(values), (_image_variance(statistics, (), resamples, seed, groups), freedom)]
    return _interval(float(np.mean(values)), parts, len(values), level, from_seeds=len(values) > 1)


def seed_difference(
    first: Sequence[Statistic],
    second: Sequence[Statistic],
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
    groups: Groups | None = None,
) -> SeedInterval:
    """Mean of ``second`` minus mean of ``first``: paired over images, seeds of the two independent of each other.

    Raises:
        InputError: a side is empty, or they are not of the same images.
    """
    images = _image_count([*first, *second])
    for side in (first, second):
        _image_count(side)
    values = [[statistic.value for statistic in side] for side in (first, second)]
    seeds = min(len(side) for side in values)
    image_part = (_image_variance(second, first, resamples, seed, groups), _group_count(images, groups) - 1)
    parts = [*_seed_part(values[0]), *_seed_part(values[1]), image_part] if seeds > 1 else [image_part]
    difference = float(np.mean(values[1]) - np.mean(values[0]))
    return _interval(difference, parts, seeds, level, from_seeds=seeds > 1)


def value_interval(values: Sequence[float], *, level: float = LEVEL) -> SeedInterval:
    """Mean over seeds of a number that is known per run only (a loss): Student's interval over seeds."""
    if not len(values):
        raise InputError("a mean over seeds needs at least one run")
    parts = _seed_part(values) or [(math.nan, 1)]
    return _interval(float(np.mean(values)), parts, len(values), level, from_seeds=len(values) > 1, images=False)


def _image_count(statistics: Sequence[Statistic]) -> int:
    shapes = {statistic.rows.shape for statistic in statistics}
    if len(shapes) != 1:
        found = ", ".join(str(shape[0]) for shape in sorted(shapes)) or "no runs"
        raise InputError(f"runs of several seeds are compared on the same images; these have {found}")
    return shapes.pop()[0]


def _group_count(images: int, groups: Groups | None) -> int:
    return len(np.unique(group_numbers(images, groups)))


def _seed_part(values: Sequence[float]) -> list[tuple[float, int]]:
    """Variance of the mean, and its degrees of freedom; nothing for one seed."""
    count = len(values)
    return [(float(np.var(values, ddof=1)) / count, count - 1)] if count > 1 else []


def _image_variance(
    plus: Sequence[Statistic], minus: Sequence[Statistic], resamples: int, seed: int, groups: Groups | None
) -> float:
    """Bootstrap variance over groups of images of the mean of ``plus`` less the mean of ``minus``."""
    draws = []
    for weights in draw_weights(len(plus[0].rows), resamples, seed, groups):
        sides = [[s.finish(weights @ s.rows) for s in side] for side in (plus, minus) if side]
        means = [np.mean(side, axis=0) for side in sides]
        draws.append(means[0] - means[1] if len(means) > 1 else means[0])
    drawn = np.concatenate(draws) if draws else np.empty(0)
    drawn = drawn[np.isfinite(drawn)]
    return float(np.var(drawn, ddof=1)) if len(drawn) > 1 else math.nan


def _interval(
    value: float, parts: Sequence[tuple[float, int]], seeds: int, level: float, *, from_seeds: bool, images: bool = True
) -> SeedInterval:
    variances = np.array([variance for variance, _ in parts])
    total = float(variances.sum())
    own = variances[:-1] if images else variances
    seed_error = math.sqrt(own.sum()) if from_seeds else math.nan
    image_error = math.sqrt(variances[-1]) if images else math.nan
    half = total  # 0 where every part is 0; NaN where one is unknown
    if total > 0:
        spread = sum(variance**2 / max(1, freedom) for variance, freedom in parts)
        half = math.sqrt(total) * float(student_t.ppf((1 + level) / 2, total**2 / spread))
    return SeedInterval(value, value - half, value + half, seeds, seed_error, image_error)
