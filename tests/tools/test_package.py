"""The packed bundle: the checkpoint in one whole file, and the lists of weights beside it right."""

from __future__ import annotations

import json
import runpy
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from scripts.confidence.calibration import load_calibration
from scripts.errors import WeightsError
from scripts.weights.intact import main as check_folder
from scripts.weights.loading import read_state, weights_sha256
from tools.package import copy_bundle, files_of, pack


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory, bundle_root: Path) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    with zipfile.ZipFile(pack(bundle_root, folder)) as archive:
        archive.extractall(folder)
    return folder / "msmedcap"


def test_model_pt_is_whole(unpacked: Path, bundle_root: Path) -> None:
    state = torch.load(unpacked / "models" / "model.pt", weights_only=True)
    ours = read_state(bundle_root / "models" / "model.pt")
    assert state.keys() == ours.keys()
    assert all(torch.equal(state[name], value) for name, value in ours.items())
    assert not list((unpacked / "models").glob("model_*"))


def test_the_lists_beside_the_weights_are_right(
    unpacked: Path, bundle_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check_folder([str(unpacked / "models")]) == 0, capsys.readouterr()
    ours = json.loads((bundle_root / "models" / "calibration.json").read_text())["weights"]
    of_shards = weights_sha256(bundle_root / "models" / "model.pt")
    frozen = {name: value for name, value in ours.items() if name not in of_shards}
    whole = weights_sha256(unpacked / "models" / "model.pt")
    assert load_calibration(unpacked / "models" / "calibration.json", whole | frozen) is not None


def test_all_else_is_as_in_the_repository(unpacked: Path, bundle_root: Path) -> None:
    changed = {"models/model.pt", "models/model_2.pt", "models/calibration.json", "models/SHA256SUMS"}
    ours = {str(path.relative_to(bundle_root)): path for path in files_of(bundle_root)}
    theirs = {str(path.relative_to(unpacked)): path for path in files_of(unpacked)}
    assert ours.keys() - changed == theirs.keys() - changed
    assert all(theirs[name].read_bytes() == ours[name].read_bytes() for name in ours.keys() - changed)


def test_equal_trees_give_equal_files(unpacked: Path, bundle_root: Path, tmp_path: Path) -> None:
    again = copy_bundle(bundle_root, tmp_path)
    for name in ("model.pt", "calibration.json", "SHA256SUMS"):
        assert (again / "models" / name).read_bytes() == (unpacked / "models" / name).read_bytes()


def test_a_lost_shard_stops_it(bundle_root: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    (bundle / "models").mkdir(parents=True)
    (bundle / "models" / "model.pt").write_bytes((bundle_root / "models" / "model.pt").read_bytes())
    with pytest.raises(WeightsError, match="2 files but 1 are there"):
        copy_bundle(bundle, tmp_path / "out")


def test_download_unpacks_it_from_a_file_s_url(unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``python -m monai.bundle download --name msmedcap --url file:///... --bundle_dir DIR``."""
    [archive] = unpacked.parent.glob("msmedcap_v*.zip")
    monkeypatch.setattr(
        sys,
        "argv",
        ["monai.bundle", "download", "--name", "msmedcap", "--url", archive.as_uri(), "--bundle_dir", str(tmp_path)],
    )
    runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
    names = {str(path.relative_to(unpacked)) for path in files_of(unpacked)}
    assert {str(path.relative_to(tmp_path / "msmedcap")) for path in files_of(tmp_path / "msmedcap")} == names
    assert check_folder([str(tmp_path / "msmedcap" / "models")]) == 0
