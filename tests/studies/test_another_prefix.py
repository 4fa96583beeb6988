"""Captions after the prefix of another image: who is paired, and whose value a caption names."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from scripts.errors import InputError
from scripts.studies.another_prefix import markdown, others_of, summary, truth_of, without_guide

CT, MR = "Axial CT of the head.", "Sagittal T2-weighted MRI of the spine."


def item(image: str, caption: str, group: str | None = None) -> dict:
    return {"image": image, "caption": caption, "group": group}


def test_the_other_image_differs_and_is_of_another_group() -> None:
    items = [item(f"{number}.png", CT if number % 3 else MR, f"group {number // 4}") for number in range(24)]
    others = others_of(items)
    assert set(others) == {each["image"] for each in items}
    for each in items:
        other = others[each["image"]]
        assert other["group"] != each["group"]
        assert truth_of(other) != truth_of(each)
    assert others == others_of(items)
    assert others != others_of(items, seed=1)


def test_images_that_are_all_alike_are_refused() -> None:
    with pytest.raises(InputError, match=r"a\.png.*no image of another group"):
        others_of([item("a.png", CT), item("b.png", CT)])


def test_shares_tell_whose_value_is_named() -> None:
    items = {"a": item("a", CT), "b": item("b", MR)}
    follows = {"image": "a", "other": "b", "own": {"off": CT, "on": CT}, "swapped": {"off": MR, "on": CT}}
    table = summary([follows], items)
    assert table["off"]["changed any"] == [1, 1, 1, 1]
    assert table["off"]["names the prefix's"][0] == 1
    assert table["off"]["names the image's"][0] == 0
    assert table["on"]["changed any"][0] == 0
    assert table["on"]["names the image's"][0] == 1

    half = follows | {"swapped": {"off": "Axial T2-weighted MRI of the head.", "on": CT}}
    table = summary([half], items)
    assert table["off"]["changed modality"][0] == 1
    assert table["off"]["changed plane"][0] == 0
    assert table["off"]["names the prefix's"][0] == pytest.approx(1 / 3, abs=1e-4)
    assert table["off"]["names the image's"][0] == pytest.approx(2 / 3, abs=1e-4)
    assert "| changed modality | 1.00 [1.00, 1.00] | 0.00 [0.00, 0.00] |" in markdown(table)


def test_the_interval_is_over_groups() -> None:
    items = {name: item(name, CT) for name in "abcd"} | {"o": item("o", MR)}
    results = [
        {"image": name, "other": "o", "own": {"off": CT, "on": CT}, "swapped": dict.fromkeys(("off", "on"), words)}
        for name, words in zip("abcd", (MR, MR, CT, CT), strict=True)
    ]
    alone = summary(results, items)["off"]["changed any"]
    one_group = summary(results, items, dict.fromkeys("abcd", "g"))["off"]["changed any"]
    assert alone[0] == one_group[0] == 0.5
    assert alone[1] < 0.5 < alone[2]
    assert one_group[1] == one_group[2] == 0.5


def test_the_guide_is_back_after_an_error() -> None:
    network = SimpleNamespace(concept_weight=2.5)
    with pytest.raises(KeyError), without_guide(network):
        assert network.concept_weight == 0
        raise KeyError
    assert network.concept_weight == 2.5
