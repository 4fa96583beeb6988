"""``run`` of inference.json in one process, on good and broken input, and the same facts through the predictor."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from forked_program import run_program
from scripts.commands.samples import write_samples
from scripts.errors import InputError
from scripts.predictor import CaptionPredictor


@pytest.fixture
def predictor(starter: Callable[..., CaptionPredictor]) -> CaptionPredictor:
    return starter()


def words_of(source: Path, output: Path, *more: str) -> list[str]:
    words = ["-m", "monai.bundle", "run", "--config_file", "configs/inference.json"]
    return [*words, "--dataset_dir", str(source), "--output_dir", str(output), *more]


def run_inference(bundle_root: Path, source: Path, output: Path, *more: str) -> subprocess.CompletedProcess:
    return run_program(*words_of(source, output, *more), cwd=bundle_root, env={"PYTHONPATH": str(bundle_root)})


def lines(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / "captions.jsonl").read_text(encoding="utf-8").splitlines()]


def broken_files(folder: Path) -> set[str]:
    """Every kind of broken input that a user meets, beside one good image."""
    import nibabel

    (folder / "text.dcm").write_text("this is not DICOM")
    (folder / "empty.nii").write_bytes(b"")
    good = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 80), dtype=np.uint8))
    good.save(folder / "good.png")
    good.resize((400, 400)).save(folder / "whole.jpg")
    (folder / "truncated.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:900])
    (folder / "whole.jpg").unlink()
    nibabel.save(nibabel.Nifti1Image(np.full((32, 32, 8), np.nan, np.float32), np.eye(4)), folder / "nan.nii.gz")
    Image.fromarray(np.full((64, 64), 9, np.uint8)).save(folder / "constant.png")
    Image.fromarray(np.full((1, 1), 9, np.uint8)).save(folder / "pixel.png")
    return {"text.dcm", "empty.nii", "truncated.jpg", "nan.nii.gz", "constant.png", "pixel.png"}


def test_broken_files_get_a_reason_and_the_rest_goes_on_twice_alike(bundle_root: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    broken = broken_files(source)
    write_samples(source)
    datalist = [{"image": path.name} for path in sorted(source.iterdir())] + [{"image": "missing.png"}]
    (source / "datalist.json").write_text(json.dumps({"test": datalist}))
    results = []
    for name in ("first", "second"):
        done = run_inference(bundle_root, source / "datalist.json", tmp_path / name, "--abstain_below", "0")
        assert done.returncode == 1, done.stderr[-2000:]
        assert "Traceback" not in done.stderr
        results.append((tmp_path / name / "captions.jsonl").read_bytes())
    assert results[0] == results[1]
    for record in lines(tmp_path / "first"):
        name = Path(record["image"]).name
        if name in broken | {"missing.png"}:
            assert record["caption"] is None, name
            assert name in record["error"] and "\n" not in record["error"], record["error"]
        else:
            assert record["error"] is None
            if name == "good.png":  # noise: no medical image
                assert record["caption"] is None and record["withheld"].endswith("not captioned")
                continue
            assert len(record["caption"].split()) >= 2
            assert 0 < record["token_confidence"] <= 1
            assert len(record["weights"]) >= 4 and all(len(value) == 64 for value in record["weights"].values())


def test_a_path_that_leaves_the_folder_is_refused_before_work(bundle_root: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "datalist.json").write_text(json.dumps({"test": [{"image": "../secret.png"}]}))
    done = run_inference(bundle_root, tmp_path / "in" / "datalist.json", tmp_path / "out")
    assert done.returncode == 1
    assert "entry 0" in done.stderr and "secret.png" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out" / "captions.jsonl").exists()


def test_predictor_says_the_same_as_the_batch_run(
    bundle_root: Path, tmp_path: Path, predictor: CaptionPredictor
) -> None:
    """As typed: in an interpreter of its own."""
    paths = write_samples(tmp_path / "in")
    command = [sys.executable, *words_of(tmp_path / "in", tmp_path / "out", "--abstain_below", "0")]
    done = subprocess.run(command, cwd=bundle_root, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    by_name = {Path(record["image"]).name: record for record in lines(tmp_path / "out")}
    for path in paths:
        caption = predictor.caption(path)
        assert caption.text == by_name[path.name]["caption"]
        assert caption.confidence == pytest.approx(by_name[path.name]["confidence"], abs=1e-4)
        assert caption.record["modality"] == by_name[path.name]["modality"]


def test_predictor_takes_arrays_and_several_views(
    predictor: CaptionPredictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor, "use_header", False)  # an array has none
    paths = write_samples(tmp_path)
    pixels, _ = predictor.load(paths[0])
    assert pixels.shape == (3, 512, 512)
    assert predictor.caption(pixels.numpy()).text == predictor.caption(paths[0]).text
    assert predictor.caption(paths[:2]).text
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        predictor.caption(torch.full((20, 20), 300.0))
    with pytest.raises(InputError, match="nowhere.png"):
        predictor.caption(tmp_path / "nowhere.png")


def test_many_images_are_captioned_together_as_one_by_one(predictor: CaptionPredictor, tmp_path: Path) -> None:
    """In order, whatever stands beside them: a broken file, a case of two views, the end of a batch."""
    paths = [str(path) for path in write_samples(tmp_path)]
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    images = [paths[0], broken, paths[1], paths[:2], paths[0]]
    found = list(predictor.caption_all(iter(images), batch_size=4))
    assert len(found) == 5 and isinstance(found[1], InputError) and "broken.png" in str(found[1])
    alone = {number: predictor.caption(images[number]) for number in (0, 2, 3, 4)}
    for number, caption in alone.items():
        assert found[number].text == caption.text and found[number].record["image"] == caption.record["image"]
        # sums over a batch may differ in their last bits
        assert found[number].token_logprobs == pytest.approx(caption.token_logprobs, abs=1e-4)
    batches = [found[number].record["trace"]["batch"] for number in (0, 2, 3, 4)]
    assert batches == [{"row": 0, "of": 2}, {"row": 1, "of": 2}, {"row": 0, "of": 1}, {"row": 0, "of": 1}]
    assert found[0].seconds["decode"] > 0 and found[3].seconds["decode"] > 0
    with pytest.raises(InputError, match="batch_size must be 1 or more"):
        predictor.caption_all(images, batch_size=0)
    with pytest.raises(InputError, match="no option 'beams'"):
        predictor.caption_all(images, beams=2)


def test_a_prompt_begins_the_caption_and_options_are_checked(
    predictor: CaptionPredictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_samples(tmp_path)[0]
    free = predictor.caption(path, num_beams=1)
    words = free.text.split()
    led = predictor.caption(path, prompt=" ".join(words[:2]), num_beams=1)
    assert led.text.startswith(" ".join(words[:2]) + " ") and led.record["prompt"] == " ".join(words[:2])
    monkeypatch.setattr(predictor, "use_header", False)  # three tokens cannot say what its header states
    assert predictor.caption(path, max_new_tokens=3).token_logprobs.__len__() <= 3
    with pytest.raises(InputError, match="num_beams"):
        predictor.caption(path, num_beams=0)


def test_blank_noise_and_real_images_get_different_captions(predictor: CaptionPredictor, shared_data: Path) -> None:
    """The captions of twelve validation images differ from those of a blank image and of another patient's image."""
    folder = shared_data / "medcap-open"
    items = json.loads((folder / "datalist.json").read_text())["validation"][::25]
    captions = [predictor.caption(folder / item["image"], num_beams=1).text for item in items]
    blank = predictor.caption(np.zeros((64, 64), np.float32), num_beams=1).text
    differs = [
        caption != blank and caption != other
        for caption, other in zip(captions, captions[1:] + captions[:1], strict=True)
    ]
    assert sum(differs) > len(differs) / 2
