"""Sides, negations and numbers are read from words, not from look-alikes, and lost or invented ones cost."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.metrics.agreement import agreement_statistics, negated_words, numbers, sides


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("mass in the left lobe", {"left"}),
        ("right-sided effusion", {"right"}),
        ("left and right hips", {"both"}),
        ("bilateral infiltrates", {"both"}),
        ("a cleft palate, brightness", set()),
    ],
)
def test_sides(caption: str, expected: set[str]) -> None:
    assert sides(caption) == expected


def test_negation_reaches_to_the_end_of_its_clause() -> None:
    assert negated_words("No pneumothorax or effusion. The heart is enlarged.") == {"pneumothorax", "effusion"}
    assert negated_words("The heart isn't enlarged, mass in the lung") == {"enlarged"}
    assert negated_words("a mass without evidence of bleeding") == {"bleeding"}
    assert negated_words("nodule, normal note") == frozenset()


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a 3.5 cm mass", {"35 mm"}),
        ("a 35mm mass", {"35 mm"}),
        ("2.5x3 cm lesion", {"25 mm", "30 mm"}),
        ("T2-weighted MRI at L4/L5, C5-6, 18F-FDG", set()),
        ("neurofibromatosis type 1", {"1"}),
    ],
)
def test_numbers(caption: str, expected: set[str]) -> None:
    assert numbers(caption) == expected


def test_lost_and_invented_sides_cost_and_silence_does_not_count() -> None:
    predictions = ["left mass", "mass", "left mass", "mass"]
    references = ["left mass", "left mass", "mass", "mass"]
    laterality = agreement_statistics(predictions, references)[0]
    assert laterality.value == pytest.approx(1 / 3)
    assert laterality.count == 3


def test_f1_of_negated_words() -> None:
    negation = agreement_statistics(["no mass"], ["no mass or edema"])[1]
    assert negation.value == pytest.approx(2 / 3)
    assert np.isnan(agreement_statistics(["mass"], ["mass"])[1].value)
