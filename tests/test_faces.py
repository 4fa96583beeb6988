"""All faces of the captioner show the network what the config's ``preprocessing`` makes, on any device a user types."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser

from scripts.commands import repeat, worker
from scripts.commands.samples import write_samples
from scripts.errors import InputError
from scripts.kernels.device import device_of
from scripts.predictor import CaptionPredictor
from scripts.provenance.trace import pixels_sha256

QUICK: dict[str, Any] = {"num_beams": 1, "max_new_tokens": 4}


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A config that mirrors images after everything else."""
    path = tmp_path_factory.mktemp("overlay") / "mirrored.json"
    mirror = {"_target_": "Flipd", "keys": "image", "spatial_axis": 1}
    path.write_text(json.dumps({"+preprocessing#transforms": [mirror], "+config_files": [str(path)]}))
    return str(path)


@pytest.fixture(scope="module")
def mirrored(starter: Callable[..., CaptionPredictor], overlay: str) -> CaptionPredictor:
    return starter(config=["configs/inference.json", overlay], **QUICK)


@pytest.fixture(scope="module")
def plain(starter: Callable[..., CaptionPredictor]) -> CaptionPredictor:
    return starter(**QUICK)


def test_the_predictor_and_what_stands_on_it_run_the_config_s_transforms(
    plain: CaptionPredictor, mirrored: CaptionPredictor, tmp_path: Path
) -> None:
    path = write_samples(tmp_path)[0]
    usual, _ = plain.load(path)
    flipped = usual.flip(-1)
    assert not torch.equal(usual, flipped)
    for values in ({}, {"window": "bone"}):
        shown, _ = plain.load(path, **values)
        torch.testing.assert_close(mirrored.load(path, **values)[0], shown.flip(-1), rtol=0, atol=0)
    torch.testing.assert_close(mirrored.load(usual.numpy())[0], flipped, rtol=0, atol=0)
    caption = mirrored.caption(path)
    assert caption.record["trace"]["pixels"] == pixels_sha256(flipped[None])
    answering = worker.Worker(str(tmp_path))
    answering._predictor = mirrored
    assert answering.answer(json.dumps({"do": "caption", "image": str(path)}))["result"]["caption"] == caption.text


def test_the_batch_run_says_the_same_and_can_be_repeated(
    bundle_root: Path, overlay: str, mirrored: CaptionPredictor, tmp_path: Path
) -> None:
    path = write_samples(tmp_path / "in")[0]
    parser = ConfigParser()
    parser.read_config([str(bundle_root / "configs" / "inference.json"), overlay])
    values = {"bundle_root": str(bundle_root), "dataset_dir": str(path), "output_dir": str(tmp_path / "out")}
    parser.update({**values, **QUICK, "device": "cpu", "network": mirrored.network})
    parser.get_parsed_content("evaluator").run()
    record = json.loads((tmp_path / "out" / "captions.jsonl").read_text())
    assert record["trace"]["pixels"] == mirrored.caption(path).record["trace"]["pixels"]
    again = repeat.predictor_of(record, bundle_root, {"network": mirrored.network})
    assert repeat.differences(record, repeat.repeat(again, [record])[0]) == []


@pytest.mark.parametrize("name", ["cpu", torch.device("cpu"), "cpu:0"])
def test_a_device_is_given_as_users_type_it(bundle_root: Path, name: Any) -> None:
    parser = ConfigParser()
    parser.read_config(str(bundle_root / "configs" / "inference.json"))
    parser.update({"bundle_root": str(bundle_root), "device": name, "network": None})
    assert parser.get_parsed_content("provenance")["trace"]["settings"]["device"] == "cpu"
    assert device_of(name).type == "cpu"


@pytest.mark.parametrize("name", ["gpu", "cuda:99", None, 2.5])
def test_a_device_that_is_not_there_is_said(name: Any) -> None:
    with pytest.raises(InputError, match="device"):
        device_of(name)
