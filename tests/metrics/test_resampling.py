"""Intervals and paired tests against closed forms and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from scripts.errors import InputError
from scripts.metrics.bleu import bleu
from scripts.metrics.resampling import bootstrap, compare
from scripts.metrics.statistic import mean_statistic


def test_interval_of_a_share_is_near_the_normal_one() -> None:
    shares = np.array([1.0] * 60 + [0.0] * 140)
    interval = bootstrap(mean_statistic("share", shares), resamples=4000)
    half = 1.96 * np.sqrt(0.3 * 0.7 / 200)
    assert interval.value == pytest.approx(0.3)
    assert interval.low == pytest.approx(0.3 - half, abs=0.01)
    assert interval.high == pytest.approx(0.3 + half, abs=0.01)


def test_interval_equals_scipy_for_a_mean() -> None:
    values = np.random.default_rng(3).gamma(2.0, size=80)
    ours = bootstrap(mean_statistic("mean", values), resamples=6000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=6000, method="percentile", rng=0).confidence_interval
    assert ours.low == pytest.approx(theirs.low, abs=0.03)
    assert ours.high == pytest.approx(theirs.high, abs=0.03)


def test_corpus_scores_are_recomputed_in_each_draw() -> None:
    candidates = [["a", "b", "c", "d", "e"], ["a", "x", "y", "z", "w"]] * 20
    references = [[["a", "b", "c", "d", "e"]]] * 40
    score = bleu(candidates, references)[3]
    interval = bootstrap(score, resamples=500)
    assert interval.low < interval.value < interval.high
    assert interval.value == pytest.approx(score.value)
    assert interval == bootstrap(score, resamples=500), "the same seed must give the same interval"


def test_permutation_p_equals_scipy() -> None:
    generator = np.random.default_rng(5)
    first = generator.normal(size=40)
    second = first + generator.normal(0.25, 0.8, size=40)
    ours = compare(mean_statistic("x", first), mean_statistic("x", second), resamples=8000)
    theirs = stats.permutation_test(
        (second, first), lambda a, b, axis: np.mean(a - b, axis=axis), permutation_type="samples",
        vectorized=True, n_resamples=8000, rng=0,
    )  # fmt: skip
    assert ours.difference == pytest.approx(np.mean(second - first))
    assert ours.p_value == pytest.approx(theirs.pvalue, abs=0.02)


def test_equal_systems_do_not_differ() -> None:
    score = mean_statistic("x", np.arange(10.0))
    result = compare(score, score, resamples=200)
    assert (result.difference, result.low, result.high, result.p_value) == (0, 0, 0, 1)


def test_other_images_are_refused() -> None:
    with pytest.raises(InputError, match="10 and 9 images"):
        compare(mean_statistic("x", np.arange(10.0)), mean_statistic("x", np.arange(9.0)))


def test_uncounted_images_stay_out_of_the_mean() -> None:
    score = mean_statistic("x", np.array([1.0, np.nan, 0.0]))
    assert (score.value, score.count) == (0.5, 2)
