"""``monai.bundle.load`` of the packed bundle gives the network that the bundle itself makes, to the last tensor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from forked_program import run_program
from scripts.commands.samples import write_samples
from tools.package import copy_bundle

CHILD = Path(__file__).with_name("loaded_bundle.py")


def loaded(bundles: Path, name: str, image: Path, cwd: Path) -> dict[str, Any]:
    """What `loaded_bundle.py` found, run anywhere but in the bundle."""
    environment = {"PYTHONPATH": str(bundles / name)}
    done = run_program(str(CHILD), str(bundles), name, str(image), cwd=cwd, env=environment, fresh=["scripts"])
    assert done.returncode == 0, done.stderr[-3000:]
    [line] = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    return json.loads(line.removeprefix("RESULT "))


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory, bundle_root: Path) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("bundles")
    copy_bundle(bundle_root, folder / "msmedcap")
    return loaded(folder, "msmedcap", write_samples(folder / "samples")[0], folder)


def test_every_tensor_is_equal_frozen_ones_too(packed: dict[str, Any]) -> None:
    assert "refused" not in packed
    ours, theirs = packed["own"]["tensors"], packed["load"]["tensors"]
    assert ours == theirs
    rooms = {name.split(".")[0] for name in ours}
    assert {"branches", "projections", "language_model", "concept_reader"} <= rooms
    assert any(".encoder." in name for name in ours)


def test_captions_are_equal(packed: dict[str, Any]) -> None:
    assert packed["load"]["caption"] == packed["own"]["caption"] != ""
    assert packed["load"]["logprobs"] == pytest.approx(packed["own"]["logprobs"], abs=1e-4)


def test_so_is_the_network_of_the_training_config(packed: dict[str, Any]) -> None:
    assert packed["train"] == packed["own_train"]
    assert any("lora_A" in name for name in packed["train"])


def test_the_repository_s_shards_are_refused(bundle_root: Path, tmp_path: Path) -> None:
    found = loaded(bundle_root.parent, bundle_root.name, tmp_path / "none.png", tmp_path)
    assert found["refused"].startswith("WeightsError: these weights are ")
    assert "make package" in found["refused"]
