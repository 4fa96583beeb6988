"""Intervals over seeds and images: by hand, against scipy, and by how often they hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from scripts.errors import InputError
from scripts.metrics.bleu import bleu
from scripts.metrics.resampling import bootstrap
from scripts.metrics.seeds import seed_difference, seed_interval, value_interval
from scripts.metrics.statistic import Statistic, mean_statistic


def scores(values: np.ndarray) -> list[Statistic]:
    """One statistic a row of ``[S, N]``."""
    return [mean_statistic("score", row) for row in values]


def test_values_give_students_interval() -> None:
    values = [0.30, 0.34, 0.41]
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    interval = value_interval(values)
    assert (interval.value, interval.low, interval.high) == pytest.approx((0.35, low, high))
    assert interval.seeds == 3 and interval.seed_error == pytest.approx(stats.sem(values))
    assert math.isnan(value_interval([0.5]).low) and value_interval([0.5]).value == 0.5


def test_a_worked_example_by_hand() -> None:
    """Four images, three seeds; the bootstrap variance of a mean of N numbers is their population variance / N."""
    values = np.array([[1.0, 0, 1, 1], [1, 0, 0, 1], [1, 0, 1, 0]])
    image_variance = np.var([1, 0, 2 / 3, 2 / 3]) / 4  # 0.03299
    seed_variance = np.var([0.75, 0.5, 0.5], ddof=1) / 3  # 0.00694
    total = image_variance + seed_variance
    freedom = total**2 / (image_variance**2 / 3 + seed_variance**2 / 2)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(total)
    interval = seed_interval(scores(values), resamples=40_000)
    assert interval.value == pytest.approx(7 / 12)
    assert interval.image_error**2 == pytest.approx(image_variance, rel=0.03)
    assert interval.seed_error**2 == pytest.approx(seed_variance)
    assert interval.high - interval.value == pytest.approx(half, rel=0.03)
    assert interval.value - interval.low == pytest.approx(half, rel=0.03)


def test_with_one_seed_it_is_the_interval_over_images() -> None:
    values = np.random.default_rng(0).normal(size=(1, 300))
    interval, plain = seed_interval(scores(values)), bootstrap(scores(values)[0])
    assert (interval.low, interval.high) == pytest.approx((plain.low, plain.high), abs=0.02)
    assert math.isnan(interval.seed_error) and interval.image_error == pytest.approx(1 / math.sqrt(300), rel=0.1)


def test_copies_in_a_group_count_as_one_image() -> None:
    """Interval, difference and degrees of freedom (few here, so that they show) are those of one image a group."""
    draw = np.random.default_rng(4)
    first, second = draw.normal(size=(2, 3, 8)) * 0.1 + draw.normal(size=8)
    groups = [i for i in range(8) for _ in range(5)]
    many = [scores(np.repeat(arm, 5, axis=1)) for arm in (first, second)]
    interval = seed_interval(many[0], groups=groups)
    assert vars(interval) == pytest.approx(vars(seed_interval(scores(first))))
    assert vars(seed_difference(*many, groups=groups)) == pytest.approx(
        vars(seed_difference(scores(first), scores(second)))
    )
    assert interval.image_error > 2 * seed_interval(many[0]).image_error


def test_equal_arms_hold_zero_and_a_better_one_excludes_it() -> None:
    draw = np.random.default_rng(1)
    images = draw.random(200)
    arm = [(images + 0.2 * draw.normal(size=200) > 0.5).astype(float) for _ in range(3)]
    same = seed_difference(scores(np.array(arm)), scores(np.array(arm)))
    assert same.value == 0 and same.low < 0 < same.high and not same.excludes_zero
    nothing = [[["a"]]] * 9
    rounding = seed_difference([bleu([["b"]] * 9, nothing)[0]], [bleu([["b", "c"]] * 9, nothing)[0]])
    assert rounding.value != 0 and not rounding.excludes_zero
    better = [np.maximum(row, draw.random(200) < 0.5) for row in arm]
    found = seed_difference(scores(np.array(arm)), scores(np.array(better)))
    assert found.excludes_zero and found.value == pytest.approx(np.mean(better) - np.mean(arm))
    back = seed_difference(scores(np.array(better)), scores(np.array(arm)))
    assert (back.value, back.low, back.high) == pytest.approx((-found.value, -found.high, -found.low))


def test_pairing_over_images_makes_a_small_gain_visible() -> None:
    draw = np.random.default_rng(2)
    images = draw.normal(size=250)
    first, second = (np.stack([images + s + 0.02 * draw.normal(size=250) for _ in range(3)]) for s in (0, 0.05))
    paired = seed_difference(scores(first), scores(second))
    assert paired.excludes_zero and paired.image_error < 0.2 * seed_interval(scores(first)).image_error


def test_corpus_scores_are_recomputed_in_every_draw() -> None:
    references = [[["a", "b", "c", "d", "e"]]] * 40
    good, bad = ["a", "b", "c", "d", "e"], ["a", "x", "y", "z", "w"]
    runs = [bleu([good, bad] * 20, references)[3], bleu([good, good, bad, bad] * 10, references)[3]]
    interval = seed_interval(runs)
    assert interval.value == pytest.approx(runs[0].value) and interval.seed_error == 0
    assert interval.image_error == pytest.approx(
        np.std(
            [
                np.mean([r.finish(r.rows[pick].sum(0)) for r in runs])
                for pick in np.random.default_rng(5).integers(0, 40, (1000, 40))
            ]
        ),
        rel=0.1,
    )


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """800 made experiments of three seeds: 95 % hold the truth; images alone, or drawing three seeds, fewer."""
    draw, count, images = np.random.default_rng(3), 800, 50
    held = {"ours": 0, "images only": 0, "percentile": 0}
    false_alarms = 0
    for _ in range(count):
        easy = 0.4 * draw.normal(size=images)
        arms = [easy + 0.1 * draw.normal(size=(3, 1)) + 0.3 * draw.normal(size=(3, images)) for _ in range(2)]
        interval = seed_interval(scores(arms[0]), resamples=100)
        held["ours"] += interval.low < 0 < interval.high
        held["images only"] += abs(interval.value) < 1.96 * interval.image_error
        weights = draw.multinomial(images, np.full(images, 1 / images), size=100) / images
        chosen = draw.multinomial(3, np.full(3, 1 / 3), size=100) / 3
        low, high = np.quantile(np.einsum("ds,sn,dn->d", chosen, arms[0], weights), [0.025, 0.975])
        held["percentile"] += low < 0 < high
        false_alarms += seed_difference(scores(arms[0]), scores(arms[1]), resamples=100).excludes_zero
    assert 0.93 <= held["ours"] / count <= 0.995, held
    assert held["images only"] / count < 0.88 and held["percentile"] < held["ours"] - 0.015 * count, held
    assert false_alarms / count <= 0.055, false_alarms


def test_other_images_are_refused() -> None:
    values = np.zeros((2, 5))
    with pytest.raises(InputError, match="same images; these have 4, 5"):
        seed_interval([*scores(values), *scores(np.zeros((1, 4)))])
    with pytest.raises(InputError, match="no runs"):
        seed_interval([])
    with pytest.raises(InputError, match="same images"):
        seed_difference(scores(values), scores(np.zeros((2, 6))))
