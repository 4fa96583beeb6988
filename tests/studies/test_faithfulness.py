"""The faithfulness check: tiles, kinds of words, the table, and that it tells a true map from a false one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_explained as tiny
import torch

from scripts.explanation.occlusion import best_tile, blurred, hidden, tiles_of
from scripts.studies.faithfulness import correlation, falls_of_image, marked_in_image
from scripts.studies.faithfulness_table import (
    joined,
    likeness,
    markdown,
    summarized,
    table,
    told,
    versus,
    versus_text,
    word_kinds,
)


def test_tiles_are_equal_and_do_not_overlap() -> None:
    tiles = tiles_of((3, 10, 100, 66), 3)
    seen = np.zeros((110, 80), int)
    for top, left, bottom, right in tiles:
        seen[top:bottom, left:right] += 1
    assert {(b - t, r - left) for t, left, b, r in tiles} == {(32, 18)}
    assert seen.max() == 1 and seen[3:100, 10:66].mean() > 0.95 and seen.sum() == seen[3:100, 10:66].sum()
    heat = torch.zeros(110, 80)
    heat[90, 60] = 1.0
    assert best_tile(heat, tiles) == 8


def test_hiding_keeps_everything_else() -> None:
    image = torch.rand(3, 48, 48)
    fill = blurred(image)
    assert float(fill.std()) < 0.3 * float(image.std())
    assert float(fill.mean()) == pytest.approx(float(image.mean()), abs=0.02)
    first, second = hidden(image, [(0, 0, 16, 16), (16, 32, 32, 48)], fill)
    assert torch.equal(first[:, 16:], image[:, 16:]) and torch.equal(first[:, :16, :16], fill[:, :16, :16])
    assert torch.equal(second[:, 16:32, 32:], fill[:, 16:32, 32:]) and torch.equal(second[:, :16], image[:, :16])


def test_kinds_of_words() -> None:
    caption = "Axial T2-weighted MRI of the head (skull and contents) showing a pineoblastoma."
    kinds = word_kinds(caption.split(), caption)
    named = {caption.split()[place]: kind for place, kind in kinds.items()}
    assert named == {
        "Axial": "plane", "T2-weighted": "modality", "MRI": "modality", "head": "organ", "(skull": "organ",
        "contents)": "organ", "pineoblastoma.": "finding",
    }  # fmt: skip
    assert set(word_kinds(["Nothing", "here"], "Nothing here").values()) == {"other"}


def results(effect: float, images: int = 40) -> list[dict]:
    generator = np.random.default_rng(1)
    found = []
    for _ in range(images):
        falls = generator.normal(0, 0.1, 9)
        chosen = int(generator.integers(9))
        falls[chosen] += effect
        word = {"word": "head", "kind": "organ", "falls": falls.tolist(), "highlighted": chosen}
        found.append({"words": [word]})
    return found


def test_the_interval_holds_a_known_effect_and_zero_for_none() -> None:
    rows = table(results(0.5))
    assert [row["kind"] for row in rows] == ["organ", "all content words"]
    assert rows[0]["over_random_interval"][0] < 0.5 < rows[0]["over_random_interval"][1]
    assert rows[0]["over_random_interval"][0] > 0.4 and rows[0]["wins"] > 0.9
    low, high = table(results(0.0))[0]["over_random_interval"]
    assert low < 0 < high
    assert "| organ | 40 |" in markdown(rows)


def test_shares_count_all_words_alike() -> None:
    """One word falls by nats where the map is not; the other four fall a little more where it is."""
    words = [{"place": p, "kind": "organ", "falls": [0.02, *[0.01] * 8], "highlighted": 0} for p in range(4)]
    words.append({"place": 4, "kind": "organ", "falls": [0.0, 0.0, 0.0, 0.0, 3.0, *[-1.0] * 4], "highlighted": 0})
    row = table([{"words": words}])[0]
    assert row["over_middle"] < -0.5  # the mean of the falls is that one word's
    assert row["beaten"][0] == pytest.approx((4 + 4 / 8) / 5) and row["beats_middle"][0] == pytest.approx(0.8)
    words[4]["highlighted"] = 4
    assert table([{"words": words}])[0]["beats_middle"][0] == pytest.approx(0.9)  # the middle itself: half


def test_images_of_a_group_are_drawn_together() -> None:
    few = [{**result, "image": f"{i}.png"} for i, result in enumerate(results(0.0))]
    many = [{**result, "image": f"{copy}/{result['image']}"} for result in few for copy in range(3)]
    groups = {result["image"]: Path(result["image"]).name for result in many}
    expected, found = (table(rows, g)[0] for rows, g in ((few, None), (many, groups)))
    for name in ("over_random_interval", "over_middle_interval"):
        assert found[name] == pytest.approx(expected[name])
        assert table(many)[0][name] != pytest.approx(expected[name], rel=0.1)


class PlainOptions:
    """What a caption is generated with here: nothing, its tokens are given."""


def test_a_planted_dependency_is_what_hiding_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patch 6 of 4 x 4 carries the caption; of 4 x 4 tiles, hiding that one matters most, and the maps say so."""
    network = tiny.planted(6)

    def generate(encoded: object, **_: object) -> object:
        made = PlainOptions()
        made.token_ids, made.lengths = tiny.IDS, tiny.LENGTHS
        return made

    monkeypatch.setattr(network, "generate", generate)
    image = torch.zeros(3, 16, 16)
    image[:, 4:8, 8:12] = torch.tensor([1.0, 0.2, 0.6])[:, None, None]  # hiding it changes its colour
    found = falls_of_image(network, image, (0, 0, 16, 16), side=4)
    assert found["caption"] == "w5 w9 w12" and found["token_ids"] == tiny.IDS[0].tolist()
    assert [word["place"] for word in found["words"]] == [0, 1, 2]
    largest = np.abs([word["falls"] for word in found["words"]]).max(0)
    assert int(largest.argmax()) == 6 and largest[6] > 5 * np.delete(largest, 6).max()
    marked = {
        method: marked_in_image(network, image, (0, 0, 16, 16), found["token_ids"], method, side=4)
        for method in ("attention", "gradient", "occlusion")
    }
    assert marked["attention"]["highlighted"] == [6, 6, 6]
    assert marked["attention"]["correlation"] > 0.99  # all words rest on that patch
    for word in found["words"]:  # a word that the patch supports is highlighted there, and hiding it lowers the word
        assert marked["gradient"]["highlighted"][word["place"]] == 6 or word["falls"][6] < 0
        assert marked["occlusion"]["highlighted"][word["place"]] == 6 or word["falls"][6] < 0.01
    assert all(one["seconds"] >= 0 for one in marked.values())
    assert marked["gradient"]["made_by"] == ("gradient",) * 3


def measured(image: str, places: list[int], tiles: list[int], **more: object) -> tuple[dict, dict]:
    """Falls of an image whose words fall by their place when tile 0 is hidden, and what a method marks in it."""
    words = [{"word": "x", "place": p, "kind": "organ", "falls": [float(p), *[0.0] * 8]} for p in places]
    marked = {"image": image, "highlighted": tiles, "made_by": ["m"] * len(tiles), "correlation": 0.5, "seconds": 1.0}
    return {"image": image, "caption": "x", "words": words}, marked | more


def test_hiding_and_marking_are_joined_word_by_word() -> None:
    falls, marked = zip(measured("a", [0, 2], [0, 4, 0]), measured("b", [1], [0, 0]), strict=True)
    found = joined(falls, marked[:1])
    assert [result["image"] for result in found] == ["a"]  # of "b" this method is not known yet
    assert [word["highlighted"] for word in found[0]["words"]] == [0, 0]


def test_methods_are_compared_on_the_words_of_the_same_images() -> None:
    falls, right = zip(*(measured(name, [1, 2], [4, 0, 0]) for name in "abc"), strict=True)
    wrong = [{**one, "highlighted": [4, 4, 4]} for one in right[:2]]
    found = versus(("right", joined(falls, right)), ("wrong", joined(falls, wrong)))
    assert found["images"] == 2 and found["fall"][0] == pytest.approx(1.5)
    assert "| right | wrong | 2 | +1.500 [+1.500, +1.500] | +1.000 [+1.000, +1.000] |" in versus_text([found])
    assert versus(("right", joined(falls, right)), ("none", [])) is None
    summary = summarized({"right": joined(falls, right), "wrong": joined(falls, wrong)}, {})
    assert summary["images"] == 3 and summary["likeness"]["wrong"]["measured"] == 2
    assert summary["likeness"]["right"]["made_by"] == {"m": 6} and summary["versus"] == [found]


def test_correlation_is_over_pairs_of_different_content_words() -> None:
    maps = torch.rand(5, 8, 8, generator=torch.Generator().manual_seed(0))
    maps[3], maps[4] = 0.0, 0.5  # "of" has no map; "left" prefers no place
    words = ("head", "tumour", "Head.", "of", "left")
    pairs = [np.corrcoef(maps[a].flatten(), maps[b].flatten())[0, 1] for a, b in ((0, 1), (1, 2))]
    assert correlation(maps, words) == pytest.approx(float(np.mean(pairs)), abs=1e-4)
    assert correlation(maps[[0, 2]], ("head", "head")) is None


def test_likeness_of_maps_is_a_mean_over_images_with_an_interval() -> None:
    values = [0.2, 0.4, None, 0.6]
    rows = [{"image": str(i), "correlation": v, "seconds": 2.0, "words": []} for i, v in enumerate(values)]
    alike = likeness(rows)
    assert alike["images"] == 3 and alike["correlation"] == pytest.approx(0.4) and alike["seconds"] == 2.0
    assert 0.2 <= alike["interval"][0] < 0.4 < alike["interval"][1] <= 0.6
    assert "0.400" in told(alike) and told(likeness(rows[2:3])).startswith("no caption")
