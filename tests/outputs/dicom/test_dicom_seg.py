"""DICOM SEG: the block's pixels on the right instance and frame, the right patient, and valid to ``dciodvfy``."""

from __future__ import annotations

import shutil
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from dicom_checks import PYDICOM_FILES, assert_valid
from made_files import ct_series, ct_slice, enhanced_ct, save
from pydicom.uid import EnhancedCTImageStorage, generate_uid
from square_cases import AXIAL_SLICE, SQUARE, block, case_of

from scripts.errors import InputError
from scripts.outputs.dicom.seg import DicomSegWriter

STUDY = {"StudyInstanceUID": generate_uid(), "FrameOfReferenceUID": generate_uid(), "PatientBirthDate": "19700101",
         "PatientSex": "F", "StudyDate": "20240102", "StudyTime": "101112", "AccessionNumber": "A1", "StudyID": "S1",
         "ReferringPhysicianName": "", "PositionReferenceIndicator": ""}  # fmt: skip


def written(case, folder: Path) -> highdicom.seg.Segmentation:
    (path,) = DicomSegWriter(output_dir=folder).add(case)
    assert_valid(path)
    return highdicom.seg.segread(path)


def source_of_frame(found: highdicom.seg.Segmentation, frame: int) -> tuple[str, int | None]:
    """(SOP instance, frame number) that a stored frame was derived from."""
    item = found.PerFrameFunctionalGroupsSequence[frame].DerivationImageSequence[0].SourceImageSequence[0]
    return item.ReferencedSOPInstanceUID, item.get("ReferencedFrameNumber")


def test_one_image(tmp_path: Path) -> None:
    made = ct_slice(block()[AXIAL_SLICE], 30.0, **STUDY)
    path = save(tmp_path / "one.dcm", made)
    found = written(case_of(str(path)), tmp_path / "out")
    assert [segment.SegmentLabel for segment in found.SegmentSequence] == ["Axial", "CT", "chest"]
    assert all(segment.SegmentAlgorithmType == "AUTOMATIC" for segment in found.SegmentSequence)
    assert (found.PatientID, found.StudyInstanceUID) == (made.PatientID, made.StudyInstanceUID)
    assert found.FrameOfReferenceUID == made.FrameOfReferenceUID
    assert "not for clinical use" in found.SeriesDescription
    pixels = found.pixel_array
    assert pixels.shape == (3, 40, 56)
    for frame in range(3):
        np.testing.assert_array_equal(pixels[frame] > 0, block()[AXIAL_SLICE] == 900)
        assert source_of_frame(found, frame)[0] == made.SOPInstanceUID
    measures = found.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert [float(value) for value in measures.PixelSpacing] == [0.8, 0.6]


def test_a_series_across_its_slices(tmp_path: Path) -> None:
    """A coronal region of axial images lies on one row of each image that the block reaches."""
    folder = ct_series(tmp_path / "series", block(), **STUDY)
    found = written(case_of(str(folder), slice=12, plane="coronal"), tmp_path / "out")
    depth = {str(pydicom.dcmread(path).SOPInstanceUID): pydicom.dcmread(path) for path in folder.glob("*.dcm")}
    z_range = range(SQUARE[0].start, SQUARE[0].stop)
    assert len(found.pixel_array) == 3 * len(z_range)
    seen = set()
    for frame, pixels in enumerate(found.pixel_array):
        source = depth[source_of_frame(found, frame)[0]]
        z = round((float(source.ImagePositionPatient[2]) + 50) / 2)
        assert z in z_range
        seen.add(z)
        expected = np.zeros((40, 56), bool)
        expected[12, SQUARE[2]] = True
        np.testing.assert_array_equal(pixels > 0, expected)
    assert seen == set(z_range)


def test_a_frame_of_an_enhanced_image(tmp_path: Path) -> None:
    order = list(reversed(range(len(block()))))
    made = enhanced_ct(block(), order)
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    for keyword, value in STUDY.items():
        setattr(made, keyword, value)
    path = save(tmp_path / "enhanced.dcm", made)
    found = written(case_of(str(path), slice=5, plane="axial"), tmp_path / "out")
    assert len(found.pixel_array) == 3
    instance, number = source_of_frame(found, 0)
    assert instance == made.SOPInstanceUID
    shown = order[int(number) - 1]  # which slice of the block that frame holds
    np.testing.assert_array_equal(found.pixel_array[0] > 0, block()[shown] == 900)
    assert shown == 5


def test_a_zip_gives_what_its_folder_gives(tmp_path: Path) -> None:
    folder = ct_series(tmp_path / "series", block(), **STUDY)
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", folder)
    across = {"slice": 12, "plane": "coronal"}
    from_folder, from_zip = (written(case_of(str(path), **across), tmp_path / "out") for path in (folder, packed))
    np.testing.assert_array_equal(from_zip.pixel_array, from_folder.pixel_array)
    assert [source_of_frame(from_zip, k) for k in range(3)] == [source_of_frame(from_folder, k) for k in range(3)]


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "examples_palette.dcm", "examples_ybr_color.dcm"])
def test_real_files(tmp_path: Path, name: str) -> None:
    """Files that pydicom ships, some without a position; their regions are where they are bright."""
    found = written(case_of(str(PYDICOM_FILES / name), window="auto", regions=False), tmp_path / "out")
    original = pydicom.dcmread(PYDICOM_FILES / name)
    assert found.PatientID == original.PatientID and found.StudyInstanceUID == original.StudyInstanceUID
    assert (found.Rows, found.Columns) == (original.Rows, original.Columns)
    instance, number = source_of_frame(found, 0)
    assert instance == original.SOPInstanceUID
    frames = int(original.get("NumberOfFrames", 1))
    assert number == (frames // 2 + 1 if frames > 1 else None)  # the middle frame of a cine is captioned
    assert found.pixel_array.max() == 1


def test_equal_runs_write_equal_files(tmp_path: Path) -> None:
    path = save(tmp_path / "one.dcm", ct_slice(block()[AXIAL_SLICE], 30.0, **STUDY))
    runs = [DicomSegWriter(output_dir=tmp_path / name).add(case_of(str(path)))[0] for name in ("a", "b")]
    assert runs[0].name == runs[1].name
    assert runs[0].read_bytes() == runs[1].read_bytes()


def test_pictures_are_refused(tmp_path: Path) -> None:
    from PIL import Image

    picture = np.full((40, 70), 60, np.uint8)
    picture[5:15, 40:60] = 250
    Image.fromarray(picture).save(tmp_path / "picture.png")
    with pytest.raises(InputError, match="picture.png: is not DICOM"):
        DicomSegWriter(output_dir=tmp_path).add(case_of(str(tmp_path / "picture.png"), window="auto"))
