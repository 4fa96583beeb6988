"""What a file is shows in its bytes: volumes and pictures under names that say nothing, or something wrong."""

from __future__ import annotations

import gzip
import shutil
import tempfile
from pathlib import Path

import made_files
import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from scripts.errors import InputError
from scripts.explanation.source_grid import source_grid
from scripts.reading import read_case
from scripts.reading.magic import HEAD, volume_ending

VOLUME = made_files.body(18).astype(np.int16)
AFFINE = np.diag([-0.6, -0.8, 2.0, 1.0])


def _nifti(path: Path, kind: type = nib.Nifti1Image, order: str = "<") -> Path:
    image = kind(VOLUME.transpose(2, 1, 0), AFFINE)
    if order != image.header.endianness:
        image = kind(VOLUME.transpose(2, 1, 0), AFFINE, image.header.as_byteswapped(order))
    nib.save(image, path)
    return path


def _itk(path: Path) -> Path:
    itk = pytest.importorskip("itk")
    image = itk.image_from_array(VOLUME)
    image.SetSpacing([0.6, 0.8, 2.0])
    itk.imwrite(image, str(path))
    return path


def _picture(path: Path) -> Path:
    Image.fromarray(made_files.phantom().astype(np.uint8)).save(path)
    return path


KINDS = {
    "NIfTI-1": lambda f: _nifti(f / "a.nii"),
    "NIfTI-1, big endian": lambda f: _nifti(f / "a.nii", order=">"),
    "NIfTI-2": lambda f: _nifti(f / "a.nii", nib.Nifti2Image),
    "NIfTI, gzipped": lambda f: _nifti(f / "a.nii.gz"),
    "MGH": lambda f: _nifti(f / "a.mgh", nib.MGHImage, ">"),
    "MGH, gzipped": lambda f: _nifti(f / "a.mgz", nib.MGHImage, ">"),
    "NRRD": lambda f: _itk(f / "a.nrrd"),
    "MetaImage": lambda f: _itk(f / "a.mha"),
    "PNM": lambda f: _picture(f / "a.pgm"),
    "PNG": lambda f: _picture(f / "a.png"),
}


@pytest.mark.parametrize("name", ["image.upload", "image", "image.nii", "image.nii.gz", "image.mha", "image.png"])
@pytest.mark.parametrize("kind", KINDS)
def test_any_name_reads_alike(tmp_path: Path, kind: str, name: str) -> None:
    usual = KINDS[kind](tmp_path)
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / name
    shutil.copy(usual, other)
    expected, found = read_case(usual), read_case(other)
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    for key in ("reader", "kind", "spacing_mm", "slice", "orientation"):
        assert found.meta.get(key) == expected.meta.get(key)
    assert found.meta["path"] == str(other)


def test_no_link_stays_behind_and_the_grid_is_found_by_bytes_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "links"))
    (tmp_path / "links").mkdir()
    shutil.copy(_nifti(tmp_path / "a.nii.gz"), tmp_path / "image")
    case = read_case(tmp_path / "image", slice=4)
    assert source_grid(case.meta).shape == source_grid(read_case(tmp_path / "a.nii.gz", slice=4).meta).shape
    del case
    assert not list((tmp_path / "links").iterdir())


def test_a_folder_with_one_volume_of_no_name_is_that_volume(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    shutil.copy(_nifti(tmp_path / "a.nii"), tmp_path / "study" / "export")
    (tmp_path / "study" / "notes.txt").write_text("NDims and P5 are words too")
    np.testing.assert_array_equal(read_case(tmp_path / "study").pixels, read_case(tmp_path / "a.nii").pixels)


def test_half_of_a_pair_is_told_from_a_whole_file(tmp_path: Path) -> None:
    pair = nib.Nifti1Pair(VOLUME.transpose(2, 1, 0), AFFINE)
    nib.save(pair, tmp_path / "pair.img")
    whole = read_case(tmp_path / "pair.hdr").pixels
    np.testing.assert_array_equal(whole, read_case(_nifti(tmp_path / "a.nii")).pixels)
    shutil.copy(tmp_path / "pair.hdr", tmp_path / "image.upload")
    with pytest.raises(InputError, match=r"image\.upload: is a header whose voxels are in an \.img file; give both"):
        read_case(tmp_path / "image.upload")
    (tmp_path / "pair.img").rename(tmp_path / "alone.img")
    with pytest.raises(InputError, match=r"pair\.hdr: is half of a pair"):
        read_case(tmp_path / "pair.hdr")
    with pytest.raises(InputError, match=r"alone\.img: .* header is damaged or missing"):
        read_case(tmp_path / "alone.img")


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"P1",
        b"P7 1 1",
        b"NDims",
        b"\x1f\x8bnot gzip",
        gzip.compress(b"text" * 500, mtime=0),
        b"a = 1\nb = 2\n",
        b"\0" * HEAD,
    ],
)
def test_other_bytes_are_no_volume(head: bytes) -> None:
    assert volume_ending(head) == ""


def test_what_is_of_no_known_kind_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.upload").write_text("hello" * 200)
    with pytest.raises(InputError, match=r"not an image of a known kind; DICOM, NIfTI.*PNM are read"):
        read_case(tmp_path / "a.upload")
