"""Reviewed captions as a data set, and the worker that other programs start."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forked_program import run_program
from scripts.commands.samples import write_samples
from scripts.commands.worker import Worker
from scripts.data.datalist import load_datalist
from scripts.data.reviewed import ReviewedCaption, write_dataset
from scripts.errors import InputError
from scripts.transforms import Letterboxd, LoadCased, WindowToUnitd


def reviewed(folder: Path, count: int) -> list[ReviewedCaption]:
    items = []
    for k in range(count):
        path = folder / f"p{k}.png"
        Image.fromarray(np.random.default_rng(k).integers(0, 255, (40, 60), dtype=np.uint8)).save(path)
        items.append(ReviewedCaption(f"p{k}", str(path), f"caption {k}"))
    return items


def test_pictures_are_what_the_network_sees(tmp_path: Path) -> None:
    """Equal to the inference transforms, to half a grey level of 8 bits."""
    source = write_samples(tmp_path)[0]
    item = ReviewedCaption("ct", str(source), "a caption", window="lung")
    counts = write_dataset([item], tmp_path / "out", image_size=128)
    assert counts == {"training": 1, "validation": 1, "validated_on": "the captions that train", "left_out": []}
    [entry] = load_datalist(
        tmp_path / "out" / "datalist.json", section="training", dataset_dir=tmp_path / "out", require_caption=True
    )
    expected = {"image": str(source)}
    for transform in (LoadCased("image"), WindowToUnitd("image", window="lung"), Letterboxd("image", size=128)):
        expected = transform(expected)
    written = np.asarray(Image.open(entry["image"])) / 255
    np.testing.assert_allclose(written, expected["image"].permute(1, 2, 0).numpy(), atol=0.51 / 255)


def test_a_caption_stays_on_its_side_when_others_join(tmp_path: Path) -> None:
    items = reviewed(tmp_path, 40)
    counts = write_dataset(items[:20], tmp_path / "some")
    assert counts["training"] + counts["validation"] == 20 and 1 <= counts["validation"] <= 9
    write_dataset(items[::-1], tmp_path / "all")
    some, whole = (json.loads((tmp_path / name / "datalist.json").read_text()) for name in ("some", "all"))
    side = {entry["caption"]: part for part, entries in whole.items() for entry in entries}
    assert len(side) == 40
    for part, entries in some.items():
        assert all(side[entry["caption"]] == part for entry in entries)


@pytest.mark.parametrize("by", ["name", "group"])
def test_what_belongs_together_is_on_one_side(tmp_path: Path, by: str) -> None:
    """Three slices of each image, or three images of each study; whatever the names, both sides have some."""
    for trial in range(8):
        items = [
            ReviewedCaption(
                f"{trial}-{k // 3 if by == 'name' else k}",
                item.image,
                f"{k // 3} {k}",
                group="" if by == "name" else f"study {trial}-{k // 3}",
            )
            for k, item in enumerate(reviewed(tmp_path, 9))
        ]
        counts = write_dataset(items, tmp_path / "out", image_size=16)
        parts = json.loads((tmp_path / "out" / "datalist.json").read_text())
        training, validation = ({entry["caption"].split()[0] for entry in parts[part]} for part in parts)
        assert training and validation and not training & validation
        assert counts["training"] == 6 and counts["validation"] == 3 and counts["validated_on"] == "images held out"


def test_a_group_of_more_than_half_of_the_captions_trains(tmp_path: Path) -> None:
    pictures = reviewed(tmp_path, 6)
    for large in ("a", "b", "c"):
        items = [ReviewedCaption(large if k < 5 else "other", pictures[k].image, "x") for k in range(6)]
        counts = write_dataset(items, tmp_path / large, image_size=16)
        assert (counts["training"], counts["validation"]) == (5, 1)


def test_slices_of_one_image_train_and_validate_and_the_report_says_so(tmp_path: Path) -> None:
    items = [ReviewedCaption("a volume", item.image, item.caption) for item in reviewed(tmp_path, 9)]
    counts = write_dataset(items, tmp_path / "out", image_size=16)
    assert (counts["training"], counts["validation"]) == (9, 9)
    assert counts["validated_on"] == "the captions that train"


def test_an_unreadable_image_is_left_out_and_said(tmp_path: Path) -> None:
    items = [*reviewed(tmp_path, 2), ReviewedCaption("gone", str(tmp_path / "gone.png"), "x")]
    counts = write_dataset(items, tmp_path / "out")
    assert counts["training"] == 2 and "gone.png" in counts["left_out"][0]
    with pytest.raises(InputError, match=r"no reviewed caption.*gone\.png"):
        write_dataset(items[2:], tmp_path / "none")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("nonsense", "not JSON"),
        ("[1]", "'do'"),
        ('{"do": "dance"}', "hello, caption, region, report"),
        ('{"do": "caption"}', "image"),
        ('{"do": "caption", "image": "a.png", "options": {"windows": 1}}', "windows"),
        ('{"do": "report", "caption": "x"}', "source"),
        ('{"do": "report", "caption": "x", "source": "nowhere.dcm", "output": "sr.dcm"}', "nowhere.dcm"),
        ('{"do": "report", "caption": "x", "source": "a.dcm", "output": "b.dcm", "abstained": true}', "edit it"),
    ],
)
def test_a_bad_line_gets_a_sentence(bundle_root: Path, line: str, says: str) -> None:
    reply = Worker(bundle_root).answer(line)
    assert reply["ok"] is False and says in reply["error"] and "\n" not in reply["error"]


def test_a_failure_is_told_by_its_kind_and_the_log_has_its_place(
    bundle_root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def caption(self, *_: object, **__: object) -> None:
            who = "Secret^Person"
            raise ValueError(f"nothing is known of {who}")

    worker = Worker(bundle_root)
    monkeypatch.setattr(worker, "_network", Broken)
    reply = worker.answer('{"id": 3, "do": "caption", "image": "a.png"}')
    assert reply == {"id": 3, "ok": False, "error": "the request failed (ValueError); see the log"}
    assert "in caption" in caplog.text and "Secret" not in caplog.text


def test_the_worker_answers_line_by_line_and_ends_with_its_input(bundle_root: Path, tmp_path: Path) -> None:
    picture = write_samples(tmp_path)[0]
    requests = [
        {"id": 1, "do": "caption", "image": str(picture), "options": {"num_beams": 1, "explain": "gradient"}},
        {"id": 2, "do": "caption", "image": str(tmp_path / "nowhere.png")},
        {"id": 3, "do": "hello"},
        {"id": 4, "do": "report", "source": str(picture), "caption": "x", "output": str(tmp_path / "sr.dcm")},
    ]
    lines = "\n".join(map(json.dumps, requests))
    done = run_program("-m", "scripts.commands.worker", cwd=bundle_root, given=lines)
    assert done.returncode == 0, done.stderr[-2000:]
    first, second, third, fourth = map(json.loads, done.stdout.splitlines())
    assert [reply["id"] for reply in (first, second, third, fourth)] == [1, 2, 3, 4]
    result = first["result"]
    assert result["caption"] and 0 < result["token_confidence"] <= 1 and result["modality"] == "CT"
    explanation = result["explanation"]
    said = " ".join(explanation["words"])  # a sentence that ends before its finding gets a full stop, which is no word
    assert said.rstrip(".").split() == result["caption"].rstrip(".").split()
    assert set(explanation["maps"]) == {"general", "detail"}
    assert second["ok"] is False and "nowhere.png" in second["error"]
    assert third["result"]["model_version"] == result["model_version"]
    assert fourth["ok"] and (tmp_path / "sr.dcm").is_file()
