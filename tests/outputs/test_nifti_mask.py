"""NIfTI masks land on the voxels that the word's region was read from, whatever the file's orientation."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from made_files import ct_series, ct_slice, save
from PIL import Image
from square_cases import AXIAL_SLICE, DEPTH, HEIGHT, SQUARE, WIDTH, WORDS, block, case_of

from scripts.errors import InputError
from scripts.outputs.nifti_mask import NiftiMaskWriter


def written(case, folder: Path) -> tuple[nib.Nifti1Image, list[Path]]:
    files = NiftiMaskWriter(output_dir=folder).add(case)
    masks = [path for path in files if path.suffix == ".gz"]
    assert [path.name for path in masks] == ["00_Axial.nii.gz", "01_CT.nii.gz", "04_chest.nii.gz"]
    return nib.load(masks[0]), files


def in_patient(image: nib.Nifti1Image, voxels: np.ndarray) -> np.ndarray:
    """Sorted millimetre positions (RAS) of the voxels that are set."""
    places = nib.affines.apply_affine(image.affine, np.argwhere(voxels))
    return places[np.lexsort(places.T.round(3))]


def expected_slice(axis: int, index: int) -> np.ndarray:
    """The block's voxels ``[X, Y, Z]`` within one slice across ``axis``."""
    volume = np.zeros((DEPTH, HEIGHT, WIDTH), bool)
    volume[SQUARE] = True
    volume = volume.transpose(2, 1, 0)
    kept = np.zeros_like(volume)
    where = [slice(None)] * 3
    where[axis] = index
    kept[tuple(where)] = volume[tuple(where)]
    return kept


@pytest.mark.parametrize("axes", ["LPS", "RAS", "PIR", "SLA", "ASL"])
@pytest.mark.parametrize(("plane", "axis", "index"), [("axial", 2, 3), ("coronal", 1, 12), ("sagittal", 0, 40)])
def test_nifti_in_any_orientation(tmp_path: Path, axes: str, plane: str, axis: int, index: int) -> None:
    affine = np.diag([-0.7, -0.9, 2.0, 1.0])  # data [X, Y, Z] runs to the patient's left, back and head
    affine[:3, 3] = (11.0, -23.0, 40.0)
    upright = nib.Nifti1Image(block().transpose(2, 1, 0).astype(np.int16), affine)
    turn = nib.orientations.ornt_transform(nib.orientations.io_orientation(affine), nib.orientations.axcodes2ornt(axes))
    stored = upright.as_reoriented(turn)
    nib.save(stored, tmp_path / "case.nii.gz")
    case = case_of(str(tmp_path / "case.nii.gz"), slice=index, plane=plane, modality="CT")
    found, files = written(case, tmp_path / "out")
    assert found.shape == stored.shape
    np.testing.assert_allclose(found.affine, stored.affine, atol=1e-4)
    assert int(found.header["sform_code"]) == 1
    voxels = np.asarray(found.dataobj)
    expected = in_patient(upright, expected_slice(axis, index))
    assert len(expected) > 50
    np.testing.assert_allclose(in_patient(found, voxels), expected, atol=1e-3)
    bright = np.asarray(stored.dataobj) == 900
    assert bright[voxels > 0].all()
    about = json.loads(files[-1].read_text())
    assert [mask["word"] for mask in about["masks"]] == ["Axial", "CT", "chest"]
    assert about["masks"][0]["from"] == "mask decoder" and about["masks"][0]["known_position"] is True


def test_one_dicom_file_that_is_not_square(tmp_path: Path) -> None:
    """Row and column spacing differ, so the letterbox also changed the aspect."""
    path = save(tmp_path / "one.dcm", ct_slice(block()[AXIAL_SLICE], 30.0))
    found, _ = written(case_of(str(path)), tmp_path / "out")
    assert found.shape == (WIDTH, HEIGHT, 1)
    np.testing.assert_array_equal(np.asarray(found.dataobj)[..., 0] > 0, block()[AXIAL_SLICE].T == 900)
    # position of the block's first voxel: column 30, row 8 of an axial slice at (-20, -30, 30), spacing 0.8 x 0.6
    np.testing.assert_allclose(
        in_patient(found, np.asarray(found.dataobj)).max(0), (20 - 30 * 0.6, 30 - 8 * 0.8, 30), atol=1e-3
    )


@pytest.mark.parametrize(("plane", "axis", "index"), [("axial", 2, 3), ("coronal", 1, 12)])
def test_dicom_series(tmp_path: Path, plane: str, axis: int, index: int) -> None:
    folder = ct_series(tmp_path / "series", block())
    found, _ = written(case_of(str(folder), slice=index, plane=plane), tmp_path / "out")
    assert found.shape == (WIDTH, HEIGHT, DEPTH)
    affine = np.array([[-0.6, 0, 0, 20], [0, -0.8, 0, 30], [0, 0, 2, -50], [0, 0, 0, 1]])
    np.testing.assert_allclose(found.affine, affine, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(found.dataobj) > 0, expected_slice(axis, index))


def test_uneven_slices_are_written_one_by_one_or_refused(tmp_path: Path) -> None:
    positions = [-50.0 + 2.0 * k + (3.0 if k > 3 else 0.0) for k in range(DEPTH)]
    folder = ct_series(tmp_path / "series", block(), positions=positions)
    found, _ = written(case_of(str(folder), slice=4, plane="axial"), tmp_path / "out")
    assert found.shape == (WIDTH, HEIGHT, 1)
    assert found.affine[2, 3] == pytest.approx(-39.0)
    np.testing.assert_array_equal(np.asarray(found.dataobj)[..., 0] > 0, block()[4].T == 900)
    with pytest.raises(InputError, match="unevenly spaced"):
        NiftiMaskWriter(output_dir=tmp_path).add(case_of(str(folder), slice=12, plane="coronal"))


def test_views_keep_their_own_files(tmp_path: Path) -> None:
    """Two files as views of one case: the mask belongs to the one that holds the block."""
    dull = np.full((50, 30), -300)
    dull[10:20, 5:9] = -100
    first = save(tmp_path / "first.dcm", ct_slice(dull, 0.0))
    second = save(tmp_path / "second.dcm", ct_slice(block()[AXIAL_SLICE], 30.0))
    found, files = written(case_of([str(first), str(second)]), tmp_path / "out")
    assert found.shape == (WIDTH, HEIGHT, 1)
    np.testing.assert_array_equal(np.asarray(found.dataobj)[..., 0] > 0, block()[AXIAL_SLICE].T == 900)
    assert json.loads(files[-1].read_text())["masks"][0]["view"] == 1


def test_a_picture_has_no_place_in_a_patient(tmp_path: Path) -> None:
    picture = np.full((40, 70), 60, np.uint8)
    picture[20:, :30] = 0
    picture[5:15, 40:60] = 250
    Image.fromarray(picture).save(tmp_path / "picture.png")
    found, files = written(case_of(str(tmp_path / "picture.png"), size=256, window="auto"), tmp_path / "out")
    np.testing.assert_array_equal(np.asarray(found.dataobj)[..., 0] > 0, picture.T == 250)
    assert int(found.header["sform_code"]) == 0
    assert json.loads(files[-1].read_text())["masks"][0]["known_position"] is False


def test_a_volume_that_does_not_say_how_it_lies_has_none_either(tmp_path: Path) -> None:
    image = nib.Nifti1Image(block().transpose(2, 1, 0).astype(np.int16), np.diag([-0.7, -0.9, 2.0, 1.0]))
    image.set_sform(image.affine, 0)
    image.set_qform(image.affine, 0)
    nib.save(image, tmp_path / "case.nii")
    found, files = written(case_of(str(tmp_path / "case.nii"), slice=3, plane="axial", modality="CT"), tmp_path / "out")
    assert found.shape == image.shape
    assert int(found.header["sform_code"]) == int(found.header["qform_code"]) == 0
    assert json.loads(files[-1].read_text())["masks"][0]["known_position"] is False


def test_without_a_mask_decoder_the_peak_of_the_map_is_the_region(tmp_path: Path) -> None:
    path = save(tmp_path / "one.dcm", ct_slice(block()[AXIAL_SLICE], 30.0))
    found, files = written(case_of(str(path), regions=False), tmp_path / "out")
    mask = np.asarray(found.dataobj)[..., 0].T > 0
    bright = block()[AXIAL_SLICE] == 900
    assert (mask & bright).sum() / (mask | bright).sum() > 0.5  # a map has 16 x 16 cells
    assert json.loads(files[-1].read_text())["masks"][0]["from"] == "map"


def test_equal_runs_write_equal_files_and_names_never_clash(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    one = save(tmp_path / "a" / "same.dcm", ct_slice(block()[AXIAL_SLICE], 30.0))
    other = save(tmp_path / "b" / "same.dcm", ct_slice(block()[3], 28.0))
    runs = []
    for name in ("first", "second"):
        writer = NiftiMaskWriter(output_dir=tmp_path / name)
        files = writer.add(case_of(str(one))) + writer.add(case_of(str(other)))
        assert len(set(files)) == 8
        runs.append([path.read_bytes() for path in files])
    assert runs[0] == runs[1]


def test_refusals_say_what_to_do(tmp_path: Path) -> None:
    path = save(tmp_path / "one.dcm", ct_slice(block()[AXIAL_SLICE], 30.0))
    case = case_of(str(path))
    writer = NiftiMaskWriter(output_dir=tmp_path)
    with pytest.raises(InputError, match="one.dcm.*set explain to true"):
        writer.add(type(case)(case.source, case.record, case.image, WORDS, None))
    array = {**case.record, "trace": {"input": {"reader": "array", "resize": case.record["trace"]["input"]["resize"]}}}
    with pytest.raises(InputError, match="array"):
        writer.add(type(case)("array", array, case.image, WORDS, case.explanation))
    failed = {**case.record, "error": "no"}
    assert writer.add(type(case)(case.source, failed, None, (), None)) == []
