"""Slope and intercept of a data set's table make Hounsfield units of stored values, once."""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from scripts.data.cache.key import case_key
from scripts.errors import InputError
from scripts.reading import read_case
from scripts.transforms import LoadCased, WindowToUnitd

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from made_sets import volume  # noqa: E402

READING = {"slice": "even:3", "rescale": [1, -1024], "modality": "CT"}


def test_stored_values_become_hu_and_the_window_is_that_of_ct(tmp_path: Path) -> None:
    path = str(tmp_path / "v.nii.gz")
    volume(Path(path))
    case = read_case(path, slice="all", rescale=(1, -1024), modality="CT")
    assert case.meta["units"] == "HU" and case.pixels.min() == -1000
    assert case.meta["luts"] == ["slope 1 and intercept -1024 of the datalist"]
    item = LoadCased("image", slice="middle")({"image": path, "reading": READING})
    assert item["image"].shape[:2] == (3, 3)
    done = WindowToUnitd("image", window="soft_tissue")(item)
    tissue = done["image"][:, :, 10:28, 10:28]
    assert 0.4 < float(tissue.mean()) < 0.65  # 40 HU in a window of 40/400
    assert float(done["image"][0, 0, 0, 0]) == 0.0


def test_values_that_are_scaled_already_are_refused(tmp_path: Path) -> None:
    hu = np.full((32, 32, 8), -1000, np.int16)
    hu[8:24, 8:24] = 40
    nib.save(nib.Nifti1Image(hu, np.eye(4)), tmp_path / "hu.nii.gz")
    with pytest.raises(InputError, match="hu.nii.gz: its values are Hounsfield units already"):
        read_case(tmp_path / "hu.nii.gz", rescale=(1, -1024))
    stored = nib.Nifti1Image((hu + 1024).astype(np.int16), np.eye(4))
    stored.header.set_slope_inter(1, -1024)
    nib.save(stored, tmp_path / "own.nii")
    with pytest.raises(InputError, match="own.nii: its header has a slope and intercept"):
        read_case(tmp_path / "own.nii", rescale=(1, -1024))
    with pytest.raises(InputError, match="slope 0 and intercept 3 are impossible"):
        read_case(tmp_path / "hu.nii.gz", rescale=(0, 3))
    Image.fromarray(np.arange(1024, dtype=np.uint8).reshape(32, 32)).save(tmp_path / "p.png")
    with pytest.raises(InputError, match="rescale is for volumes"):
        read_case(tmp_path / "p.png", rescale=(1, -1024))


def test_an_entry_that_asks_for_something_unknown_is_refused(tmp_path: Path) -> None:
    volume(tmp_path / "v.nii.gz")
    with pytest.raises(InputError, match="'reading' is {'slices': 8}; it may hold"):
        LoadCased("image")({"image": str(tmp_path / "v.nii.gz"), "reading": {"slices": 8}})


def test_the_feature_cache_knows_how_a_case_is_read(tmp_path: Path) -> None:
    volume(tmp_path / "v.nii.gz")
    item = {"image": str(tmp_path / "v.nii.gz")}
    keys = {case_key({**item, "reading": reading}) for reading in ({}, READING, {**READING, "rescale": [1, -1000]})}
    assert len(keys) == 3


def test_informative_slices_lie_in_equal_parts(tmp_path: Path) -> None:
    values = np.zeros((32, 32, 12), np.int16)
    draw = np.random.default_rng(0)
    for number in range(12):
        values[:, :, number] = draw.integers(0, 4 + 40 * (number in (2, 4, 11)), (32, 32))
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "v.nii")
    assert sorted(read_case(tmp_path / "v.nii", slice="informative:3").meta["slice"]) in ([2, 4, 11], [0, 7, 9])
    assert len(read_case(tmp_path / "v.nii", slice="informative:50").meta["slice"]) == 12
    with pytest.raises(InputError, match="'informative:0' does not name a slice"):
        read_case(tmp_path / "v.nii", slice="informative:0")
