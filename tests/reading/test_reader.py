"""The reader's face: kinds of files, refusals, MONAI."""

from __future__ import annotations

import pickle
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.transforms import LoadImaged
from PIL import Image

from scripts.errors import InputError
from scripts.reading import read_case
from scripts.transforms import MedicalImageReader


def _ramp(height: int = 24, width: int = 40) -> np.ndarray:
    return (np.arange(height * width).reshape(height, width) % 251).astype(np.uint8)


def _refused(path: Path, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        read_case(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    for word in words:
        assert word in text


def test_jpeg_equals_pillow_and_is_not_transposed(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(_ramp()).save(path, quality=95)
    case = read_case(path)
    assert case.pixels.shape == (1, 1, 24, 40)
    assert case.pixels.dtype == np.float32
    np.testing.assert_array_equal(case.pixels[0, 0], np.asarray(Image.open(path)))


def test_refusals_name_the_file_and_the_cause(tmp_path: Path) -> None:
    _refused(tmp_path / "absent.png", "no such file")
    (tmp_path / "empty").mkdir()
    _refused(tmp_path / "empty", "no image")
    text = tmp_path / "text.dcm"
    text.write_text("this is not an image\n" * 40)
    _refused(text, "DICOM")
    zero = tmp_path / "zero.nii.gz"
    zero.write_bytes(b"")
    _refused(zero, "empty (0 bytes)")
    whole = tmp_path / "whole.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(whole)
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(whole.read_bytes()[:900])
    _refused(cut, "truncated")
    blank = tmp_path / "blank.png"
    Image.fromarray(np.full((32, 32), 7, np.uint8)).save(blank)
    _refused(blank, "same value")
    dot = tmp_path / "dot.png"
    Image.fromarray(np.zeros((1, 1), np.uint8)).save(dot)
    _refused(dot, "1 x 1 pixels")
    nan = tmp_path / "nan.nii"
    nib.save(nib.Nifti1Image(np.full((20, 20, 20), np.nan, np.float32), np.eye(4)), nan)
    _refused(nan, "not numbers")


def test_a_few_gaps_are_filled_and_said(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(100, 10, (20, 20, 20)).astype(np.float32)
    array[3, 3, 10] = np.nan
    path = tmp_path / "gap.nii"
    nib.save(nib.Nifti1Image(array, np.eye(4)), path)
    case = read_case(path)
    assert np.isfinite(case.pixels).all()
    assert any("not numbers" in note for note in case.meta["notes"])


def test_monai_load_image_gives_rows_by_columns_and_does_not_fall_back(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(_ramp()).save(path)
    for reader in ("scripts.transforms.MedicalImageReader", MedicalImageReader()):
        image = LoadImaged("image", reader=reader, ensure_channel_first=True)({"image": str(path)})["image"]
        assert tuple(image.shape) == (1, 24, 40)
        np.testing.assert_array_equal(np.asarray(image)[0], _ramp())
    blank = tmp_path / "blank.png"
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(blank)
    with pytest.raises(Exception, match="same value"):  # MONAI's other readers would have read it
        LoadImaged("image", reader=MedicalImageReader())({"image": str(blank)})


def test_meta_is_plain_and_picklable(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(_ramp()).save(path)
    meta = read_case(path).meta
    assert pickle.loads(pickle.dumps(meta)) == meta
    assert meta["modality"] == "" and meta["units"] == "display" and meta["channels"] == 1
