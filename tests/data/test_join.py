"""Datalists of several folders as one: paths, groups, sections, and held-out images that stay held out."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scripts.commands.datalist import main
from scripts.data.builders.join import common_folder
from scripts.data.check import check_datalist
from scripts.data.datalist import load_datalist

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from leaks import made_body  # noqa: E402

CAPTION = "Axial CT of the head showing a bleed."


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A folder with a validation section, and one below another folder that knows fields; no two images are alike."""
    draw = np.random.default_rng(3)
    first, second = tmp_path / "a", tmp_path / "more" / "b"
    for folder in (first, second):
        (folder / "images").mkdir(parents=True)
        for number in range(4):
            made_body(draw).save(folder / "images" / f"{number}.png")
    own = [{"image": f"images/{n}.png", "caption": CAPTION, "group": f"g{n // 2}"} for n in range(4)]
    write(first, training=own[:2], validation=own[2:])
    fields = {"modality": "ultrasound", "organ": "fetal head", "finding": None}
    extra = [{"image": f"images/{n}.png", "fields": fields, "group": f"g{n}", "near": n == 3} for n in range(4)]
    write(second, training=extra)
    return first, second


def write(folder: Path, **sections: list[dict[str, Any]]) -> None:
    (folder / "datalist.json").write_text(json.dumps(sections))


def joined(folders: tuple[Path, Path], *options: str) -> dict[str, Any]:
    output = folders[0].parent / "out" / "datalist.json"
    assert main(["join", *map(str, folders), "--output", str(output), "--quiet", *options]) == 0
    return json.loads(output.read_text())


def test_paths_groups_and_sections(folders: tuple[Path, Path]) -> None:
    content = joined(folders, "--wording", "mould")
    root, file = common_folder(folders), folders[0].parent / "out" / "datalist.json"
    assert root == folders[0].parent.resolve()
    assert [entry["image"] for entry in content["training"]] == [
        "a/images/0.png", "a/images/1.png", *(f"more/b/images/{number}.png" for number in range(4))
    ]  # fmt: skip
    assert [entry["group"] for entry in content["validation"]] == ["a:g1", "a:g1"]
    assert content["training"][2]["group"] == "more/b:g0"
    assert content["training"][2]["caption"] == "Ultrasound of the fetal head."
    assert [entry["caption"] for entry in content["validation"]] == [CAPTION] * 2
    assert not check_datalist(file, root).problems
    assert len(load_datalist(file, section="training", dataset_dir=root, require_caption=True)) == 6


def test_an_image_that_another_folder_holds_out_is_left_out(folders: tuple[Path, Path]) -> None:
    with Image.open(folders[0] / "images" / "3.png") as held_out:
        held_out.resize([side * 3 // 5 for side in held_out.size]).save(folders[1] / "images" / "2.png")
    content = joined(folders)
    assert [Path(entry["image"]).name for entry in content["training"][2:]] == ["0.png", "1.png", "3.png"]
    assert content["provenance"]["counts"] == {"training entries that show a held-out image": 1}


def test_entries_with_a_key_and_images_of_other_datalists_are_left_out(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(folders[1] / "images" / "1.png", other / "copy.png")
    write(other, test=[{"image": "copy.png", "caption": "a body"}])
    content = joined(folders, "--drop", "near", "--exclude", str(other / "datalist.json"))
    assert [entry["image"] for entry in content["training"][2:]] == ["more/b/images/0.png", "more/b/images/2.png"]
    assert content["provenance"]["counts"] == {"near, dropped": 1, "in an excluded datalist": 1}


def test_a_join_of_the_same_stays_and_of_anything_else_is_made_again(folders: tuple[Path, Path]) -> None:
    first, file = joined(folders), folders[0].parent / "out" / "datalist.json"
    made = file.stat().st_mtime_ns
    assert joined(folders) == first and file.stat().st_mtime_ns == made
    assert joined(folders, "--drop", "near") != first
    content = json.loads((folders[1] / "datalist.json").read_text())
    write(folders[1], training=content["training"][:1])
    assert len(joined(folders)["training"]) == 3
    file.write_text("{")
    assert len(joined(folders)["training"]) == 3


def test_a_folder_without_a_datalist_is_refused_in_one_sentence(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    output = ["--output", str(tmp_path / "out.json")]
    assert main(["join", str(folders[0]), str(tmp_path / "empty"), *output]) == 2
    assert "empty has no datalist.json" in capsys.readouterr().err
    write(folders[1], training=[{"image": "images/0.png"}])
    assert main(["join", str(folders[1]), *output]) == 2
    assert "no training entry is left" in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()
