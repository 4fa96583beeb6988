"""Images of a study, and results that a stopped run need not make again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from scripts.errors import InputError
from scripts.studies.image_by_image import chosen_items, groups_of, measured, weights_digest


def datalist(folder: Path, images: list) -> None:
    for image in images:
        for name in [image] if isinstance(image, str) else image:
            Image.new("L", (8, 8)).save(folder / name)
    entries = [{"image": image, "caption": "A CT.", "group": "g"} for image in images]
    (folder / "datalist.json").write_text(json.dumps({"validation": entries}))


def test_single_images_evenly_spread(tmp_path: Path) -> None:
    datalist(tmp_path, [f"{number:02}.png" for number in range(20)] + [["00.png", "01.png"]])
    items = chosen_items(tmp_path, "validation", 5)
    assert sorted(Path(item["image"]).name for item in items) == ["00.png", "05.png", "10.png", "14.png", "19.png"]
    assert items == chosen_items(tmp_path, "validation", 5)
    assert groups_of(items) == {item["image"]: "g" for item in items}
    assert len(chosen_items(tmp_path, "validation", 500)) == 20


def test_a_seed_draws_and_what_it_draws_first_may_be_skipped(tmp_path: Path) -> None:
    datalist(tmp_path, [f"{number:02}.png" for number in range(20)])
    first, rest = chosen_items(tmp_path, "validation", 8, seed=3), chosen_items(tmp_path, "validation", 50, 3, skip=8)
    assert first == chosen_items(tmp_path, "validation", 8, seed=3) != chosen_items(tmp_path, "validation", 8, seed=4)
    assert len(first) == 8 and len({item["image"] for item in first + rest}) == 20
    with pytest.raises(InputError, match="--skip leaves none"):
        chosen_items(tmp_path, "validation", 8, seed=3, skip=20)
    with pytest.raises(InputError, match="give --seed"):
        chosen_items(tmp_path, "validation", 8, skip=1)


def test_a_section_of_views_alone_is_refused(tmp_path: Path) -> None:
    datalist(tmp_path, [["a.png", "b.png"]])
    with pytest.raises(InputError, match="no single images"):
        chosen_items(tmp_path, "validation", 5)


def test_a_stopped_run_goes_on(tmp_path: Path) -> None:
    items, file, asked = [{"image": name} for name in "abc"], tmp_path / "new" / "results.jsonl", []

    def measure(item: dict) -> dict:
        asked.append(item["image"])
        return {"caption": item["image"].upper()}

    assert [each["image"] for each in measured(file, "one", items, measure, at_most=2)] == ["a", "b"]
    assert [each["caption"] for each in measured(file, "one", items, measure)] == ["A", "B", "C"]
    assert asked == ["a", "b", "c"]
    measured(file, "other settings", items, measure)
    assert asked == ["a", "b", "c"] * 2


def test_the_digest_is_of_the_weights_alone() -> None:
    one = {"weights": {"model.pt": "1"}, "version": "0.1.0"}
    assert weights_digest(one) == weights_digest(one | {"version": "0.2.0"})
    assert weights_digest(one) != weights_digest({"weights": {"model.pt": "2"}})
