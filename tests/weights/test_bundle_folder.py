"""A bundle by its folder, its zip, or its name on the hub: found once, and refused in a sentence."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import huggingface_hub.constants as hub
import pytest

from scripts.errors import InputError, WeightsError
from scripts.weights.bundle_folder import bundle_folder

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MSMEDCAP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    return tmp_path / "cache"


def _zip(path: Path, **files: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def test_a_folder_is_itself(tmp_path: Path) -> None:
    assert bundle_folder(str(tmp_path)) == tmp_path


def test_a_zip_is_unpacked_once(tmp_path: Path, cache: Path) -> None:
    packed = _zip(tmp_path / "any.zip", **{"msmedcap/configs/inference.json": "{}", "msmedcap/models/m.pt": "m"})
    root = bundle_folder(packed)
    assert root.is_relative_to(cache) and (root / "models" / "m.pt").read_text() == "m"
    (root / "models" / "m.pt").write_text("kept")
    assert bundle_folder(packed) == root and (root / "models" / "m.pt").read_text() == "kept"
    _zip(packed, **{"msmedcap/configs/inference.json": "{}", "msmedcap/models/m.pt": "another"})
    assert (bundle_folder(packed) / "models" / "m.pt").read_text() == "another"
    assert not [path for path in (cache / "bundles").iterdir() if path.name.startswith(".")]


def test_nothing_leaves_the_folder(tmp_path: Path, cache: Path) -> None:
    packed = _zip(tmp_path / "any.zip", **{"configs/inference.json": "{}", "../../../escaped.txt": "x", "/rooted": "x"})
    root = bundle_folder(packed)
    assert not (tmp_path / "escaped.txt").exists() and not Path("/rooted").exists()
    assert all(path.resolve().is_relative_to(root.resolve()) for path in root.rglob("*"))


def test_a_hub_name_is_taken_from_the_hubs_cache(tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "models--somebody--msmedcap"
    commit = "a" * 40
    snapshot = repository / "snapshots" / commit
    (snapshot / "configs").mkdir(parents=True)
    (snapshot / "configs" / "inference.json").write_text("{}")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    assert bundle_folder("somebody/msmedcap") == snapshot
    assert bundle_folder(f"somebody/msmedcap@{commit}") == snapshot
    with pytest.raises(WeightsError, match=r"somebody/other is neither on this disk nor to be had from the hub"):
        bundle_folder("somebody/other")


def test_what_is_no_bundle_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.zip does not exist: give a bundle's folder"):
        bundle_folder("nowhere.zip")
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(InputError, match=r"text\.zip is no zip file"):
        bundle_folder(tmp_path / "text.zip")
    for _ in range(2):  # nothing is kept of it
        with pytest.raises(InputError, match=r"other\.zip holds no bundle: configs/inference\.json is not in it"):
            bundle_folder(_zip(tmp_path / "other.zip", **{"a/b.txt": "x"}))


@pytest.mark.slow
def test_the_packed_bundle_captions_as_the_folder_does(
    tmp_path: Path, bundle_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pydicom

    from scripts.predictor import CaptionPredictor

    monkeypatch.delenv("MSMEDCAP_CACHE")
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    sys.modules.pop("package", None)
    import package

    image = Path(pydicom.__file__).parent / "data" / "test_files" / "CT_small.dcm"
    packed = package.pack(bundle_root, tmp_path)
    first, second = (
        CaptionPredictor.from_bundle(source, device="cpu").caption(image) for source in (bundle_root, packed)
    )
    assert first.text == second.text and first.token_logprobs == second.token_logprobs
