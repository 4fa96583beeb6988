"""Intervals and paired tests against closed forms and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from scripts.errors import InputError
from scripts.metrics.bleu import bleu
from scripts.metrics.resampling import bootstrap, compare, draw_weights, group_numbers, unit_of
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


def repeated(values: np.ndarray, times: int = 4) -> tuple[np.ndarray, list[str]]:
    """Every value ``times`` times, as perfectly dependent images of a case would have it, and the group of each."""
    return np.repeat(values, times), [f"g{i}" for i in np.repeat(np.arange(len(values)), times)]


def test_copies_in_a_group_make_no_interval_narrower() -> None:
    """Four equal images a group say what one says: interval and p are those of one image a group."""
    generator = np.random.default_rng(11)
    first, second = generator.normal(size=(2, 50)) + [[0.0], [0.3]]
    (many, groups), (others, _) = repeated(first), repeated(second)
    alone, together = mean_statistic("x", first), mean_statistic("x", many)
    expected = bootstrap(alone)
    assert vars(bootstrap(together, groups=groups)) == pytest.approx(vars(expected))
    as_if_independent = bootstrap(together)
    assert as_if_independent.high - as_if_independent.low < 0.6 * (expected.high - expected.low)
    paired = compare(together, mean_statistic("x", others), groups=groups)
    assert vars(paired) == pytest.approx(vars(compare(alone, mean_statistic("x", second))))
    assert compare(together, mean_statistic("x", others)).p_value < paired.p_value


def test_groups_need_not_stand_together_nor_be_of_one_size() -> None:
    values, groups = np.array([1.0, 0, 1, 0, 1, 1]), ["a", "b", "a", None, None, "b"]
    assert group_numbers(6, groups).tolist() == [0, 1, 0, 2, 3, 1]
    weights = next(draw_weights(6, 50, 0, groups))
    assert (weights[:, 0] == weights[:, 2]).all() and (weights[:, 1] == weights[:, 5]).all()
    assert (weights[:, [0, 1, 3, 4]].sum(axis=1) == 4).all()
    assert unit_of(6, groups) == {"unit": "group", "units": 4} and unit_of(6, None) == {"unit": "image", "units": 6}
    score = mean_statistic("x", values)
    assert bootstrap(score, groups=[None] * 6) == bootstrap(score)
    with pytest.raises(InputError, match="5 groups for 6 images"):
        bootstrap(score, groups=groups[:5])


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
