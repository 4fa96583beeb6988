"""Retrieval from matrices, and whether captions depend on the image."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.errors import InputError
from scripts.metrics.baselines import commonest_caption, nearest_captions
from scripts.metrics.diversity import distinct_ratio, is_looped, length_histogram, verbatim
from scripts.metrics.reliance import changed, field_loss, image_reliance, other_image
from scripts.metrics.retrieval import matching_accuracy, recall_at, same_caption


def _values(statistics: list) -> dict[str, float]:
    return {statistic.name: statistic.value for statistic in statistics}


def test_recall_both_ways_by_hand() -> None:
    similarity = np.array([[0.9, 0.1, 0.2], [0.8, 0.3, 0.1], [0.0, 0.5, 0.4]])
    found = _values(recall_at(similarity, ranks=(1, 2)))
    assert found["image to text R@1"] == pytest.approx(1 / 3)
    assert found["image to text R@2"] == 1.0
    assert found["text to image R@1"] == pytest.approx(2 / 3)
    assert found["text to image R@2"] == 1.0


def test_recall_equals_sorting_on_random_matrices() -> None:
    similarity = np.random.default_rng(0).normal(size=(50, 50))
    order = np.argsort(-similarity, axis=1)
    for k in (1, 5, 10):
        expected = np.mean([i in order[i, :k] for i in range(50)])
        assert _values(recall_at(similarity))[f"image to text R@{k}"] == pytest.approx(expected)


def test_a_constant_model_retrieves_nothing() -> None:
    assert _values(recall_at(np.zeros((30, 30))))["image to text R@10"] == 0.0


def test_equal_captions_are_all_right() -> None:
    positives = same_caption(["A mass.", "a mass", "cyst"], ["a  mass", "cyst"])
    assert positives.tolist() == [[True, False], [True, False], [False, True]]
    similarity = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.3]])
    assert _values(recall_at(similarity, positives, ranks=(1,)))["image to text R@1"] == pytest.approx(2 / 3)


def test_matching_accuracy_is_balanced() -> None:
    always = _values(matching_accuracy(np.ones((4, 4))))
    assert always["ITM accuracy"] == 0.5 and always["ITM right pairs accepted"] == 1
    assert _values(matching_accuracy(np.eye(4)))["ITM accuracy"] == 1.0


def test_matrices_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="positives"):
        recall_at(np.zeros((2, 3)))
    with pytest.raises(InputError, match="finite"):
        recall_at(np.full((2, 2), np.nan))


def test_reliance_of_a_captioner_that_ignores_the_image() -> None:
    same = ["Axial CT of the head showing abscess."] * 4
    assert changed(same, same).value == 0
    assert field_loss(same, same, same).value == 0
    real = ["Axial CT of the head showing abscess.", "Coronal MRI of the spine showing cyst."]
    found = _values(image_reliance(real, {"blank": [real[0], real[0]]}, real))
    assert found == {"changed by blank": 0.5, "fields lost with blank": 0.5}
    with pytest.raises(InputError, match="2 captions of real images and 4"):
        changed(real, same)


def test_the_other_image_is_of_another_group() -> None:
    groups = ["a", "a", "b", "c", "c"]
    partners = other_image(5, groups)
    assert all(groups[i] != groups[j] for i, j in enumerate(partners))
    with pytest.raises(InputError, match="no other patient"):
        other_image(2, ["a", "a"])


def test_nearest_neighbour_ignores_length_of_features() -> None:
    bank = np.array([[1.0, 0.0], [0.0, 5.0]])
    assert nearest_captions(bank, np.array([[10.0, 1.0], [0.1, 0.2]]), ["one", "two"]) == ["one", "two"]
    with pytest.raises(InputError, match="3 captions for 2"):
        nearest_captions(bank, bank, ["a", "b", "c"])


def test_variety() -> None:
    assert commonest_caption(["b", "a", "b"]) == "b"
    assert distinct_ratio(["A mass.", "a  mass", "cyst", "cyst"]).value == 0.5
    assert verbatim(["A mass.", "new"], ["a mass"]).value == 0.5
    assert is_looped("ct of the of the head") and is_looped("mass mass") and not is_looped("ct of the head of the man")
    assert length_histogram(["a b", "a b c", "a"], width=2) == [(0, 1), (2, 2)]
