"""ImageCLEF's file has each test image once; test captions that stand in training are warned of."""
# ruff: noqa: E501 (cases stand on one line)

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from scripts.errors import InputError
from scripts.metrics.evaluate_files import Options, evaluate, main
from scripts.metrics.scoring import Extras
from scripts.metrics.submission import image_id, write_submission
from scripts.metrics.submission import main as submit


def captions(path: Path, *names: str) -> Path:
    lines = [json.dumps({"image": f"test/{name}", "caption": f'a "{name}",\n two'}) for name in names]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_rows_are_quoted_and_in_the_order_of_the_images(tmp_path: Path) -> None:
    file = captions(tmp_path / "c.jsonl", "b_2.jpg", "a_1.jpg")
    (tmp_path / "ids.csv").write_text("ID\na_1\nb_2\n")
    assert submit([str(file), str(tmp_path / "out.csv"), "--images", str(tmp_path / "ids.csv")]) == 0
    with (tmp_path / "out.csv").open(newline="") as stream:
        assert list(csv.reader(stream)) == [["ID", "Caption"], ["a_1", 'a "a_1.jpg", two'], ["b_2", 'a "b_2.jpg", two']]


def test_ids_too_many_too_few_or_twice_are_refused(tmp_path: Path) -> None:
    file = captions(tmp_path / "c.jsonl", "a.jpg", "b.jpg")
    (tmp_path / "ids.txt").write_text("a\nb\nc\n")
    with pytest.raises(InputError, match="1 test images have no caption, first 'c'"):
        write_submission(file, tmp_path / "out.csv", tmp_path / "ids.txt")
    (tmp_path / "ids.txt").write_text("a\n")
    with pytest.raises(InputError, match="1 captions are of no test image, first 'b'"):
        write_submission(file, tmp_path / "out.csv", tmp_path / "ids.txt")
    with pytest.raises(InputError, match="1 IDs occur more than once, first 'a'"):
        write_submission(captions(tmp_path / "d.jsonl", "a.jpg", "a.png"), tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_image_ids_keep_dots_within_the_name() -> None:
    assert image_id("x/train_1_a_1.nii.gz") == "train_1_a_1" and image_id("a.b.jpg") == "a.b"


def test_test_captions_in_training_are_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def entry(name: str, caption: str) -> dict[str, str]:
        return {"image": name, "caption": caption}

    content = {
        "training": [entry("a.png", "One  nodule."), entry("c.png", "two")],
        "test": [entry("b.png", "one nodule."), entry("c.png", "other")],
    }
    (tmp_path / "d.json").write_text(json.dumps(content))
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(entry(n, "x y")) + "\n" for n in ("b.png", "c.png")))
    result = evaluate(
        tmp_path / "c.jsonl", tmp_path / "d.json", Options(split="test", resamples=0, extras=Extras(meteor=False))
    )
    assert "1 of 2 reference captions stand word for word in training" in result["warnings"][0]
    assert "1 of 2 test images are training images, such as c.png" in result["warnings"][1]
    words = ["--predictions", str(tmp_path / "c.jsonl"), "--references", str(tmp_path / "d.json"), "--split", "test"]
    assert main([*words, "--resamples", "0", "--no-meteor", "--clinical", "chest-findings"]) == 0
    printed = capsys.readouterr().out
    assert "warning: 1 of 2" in printed and "skipped chest-findings" in printed


def test_modalities_are_read_off_captions_where_the_datalist_has_none(tmp_path: Path) -> None:
    texts = ["Axial CT of the chest showing mass."] * 5 + ["Sagittal MRI of the head."] * 5
    content = {"test": [{"image": f"{n}.png", "caption": text} for n, text in enumerate(texts)]}
    (tmp_path / "d.json").write_text(json.dumps(content))
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(item) + "\n" for item in content["test"]))
    result = evaluate(
        tmp_path / "c.jsonl", tmp_path / "d.json", Options(split="test", resamples=0, extras=Extras(meteor=False))
    )
    assert [(row["kind"], row["images"]) for row in result["by_modality"]] == [("CT", 5), ("MR", 5)]
