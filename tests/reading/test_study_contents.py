"""Studies hold more than images: what is made from images never stands for them, and scouts and clips are weighed."""

from __future__ import annotations

import shutil
from pathlib import Path

import made_files
import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    CTImageStorage,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    ParametricMapStorage,
    RTDoseStorage,
    SegmentationStorage,
    XRayAngiographicImageStorage,
)

from scripts.errors import InputError
from scripts.explanation.source_grid import source_grid
from scripts.outputs.dicom.source import find_source
from scripts.reading import read_case
from scripts.transforms import Letterboxd, LoadCased

SEG_UID = "1.2.826.0.1.99"


def made_from(volume: np.ndarray, sop_class: str, modality: str, **tags: object) -> pydicom.Dataset:
    """A multi-frame object in space with the pixels of ``volume`` three times, so that it has the most frames."""
    order = list(range(len(volume)))
    made = made_files.enhanced_ct(volume, order)
    frames = list(made.PerFrameFunctionalGroupsSequence)
    made.PerFrameFunctionalGroupsSequence = pydicom.Sequence(frames * 3)
    made.NumberOfFrames, made.PixelData = 3 * len(volume), made.PixelData * 3
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = sop_class
    made.Modality = modality
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    return made


def clip(frames: int, sop_class: str, **tags: object) -> pydicom.Dataset:
    made = made_files.dataset(np.stack([made_files.phantom(top=200, seed=k) for k in range(frames)]), frames=frames,
                              allocated=8, modality="XA", **tags)  # fmt: skip
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = sop_class
    return made


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A CT series of 6 slices, series 3, of which segmentation, dose and map may be added."""
    folder = tmp_path / "study"
    made_files.ct_series(folder, made_files.body(6), StudyInstanceUID="1.2.3", SOPClassUID=CTImageStorage)
    return folder


@pytest.mark.parametrize(
    ("sop_class", "modality"),
    [(SegmentationStorage, "SEG"), (RTDoseStorage, "RTDOSE"), (ParametricMapStorage, "MR"), (CTImageStorage, "SEG")],
)
@pytest.mark.parametrize("packed", [False, True])
def test_what_was_made_from_images_is_not_captioned(study: Path, sop_class: str, modality: str, packed: bool) -> None:
    made_files.save(study / "0.dcm", made_from(made_files.body(6), sop_class, modality, SeriesInstanceUID=SEG_UID))
    path = shutil.make_archive(str(study), "zip", study) if packed else study
    case = read_case(path, slice="all")
    np.testing.assert_array_equal(case.pixels[:, 0], made_files.body(6))
    assert case.meta["series"] == {"number": 3, "images": 6, "groups": 1}
    assert "1 files with segmentations, dose grids or maps were left out; series= takes one" in case.meta["notes"]
    for wanted in (5, SEG_UID):
        assert read_case(path, series=wanted).meta["series"]["images"] == 18


def test_a_segmentation_alone_is_refused_and_a_dose_grid_is_what_was_asked_for(tmp_path: Path) -> None:
    mask = made_files.save(tmp_path / "mask.dcm", made_from(made_files.body(6), SegmentationStorage, "SEG"))
    dose = made_files.save(tmp_path / "dose.dcm", made_from(made_files.body(6), RTDoseStorage, "RTDOSE"))
    with pytest.raises(InputError, match="mask.dcm: is a segmentation, not an image; give the images"):
        read_case(mask)
    assert read_case(mask, series=5).meta["modality"] == "SEG"
    assert read_case(dose).meta["modality"] == "RTDOSE"
    with pytest.raises(InputError, match="holds no images but 2 segmentations, dose grids or maps"):
        read_case(tmp_path)


def test_outputs_find_the_images_again_beside_a_segmentation_like_them(study: Path) -> None:
    """The segmentation has the number and count of the series, so only its kind tells them apart."""
    volume = made_files.body(2)  # 6 frames
    mask = made_from(volume, SegmentationStorage, "SEG", SeriesNumber=3, SeriesInstanceUID=SEG_UID,
                     StudyInstanceUID="1.2.3")  # fmt: skip
    made_files.save(study / "0.dcm", mask)
    images = {str(pydicom.dcmread(path).SOPInstanceUID) for path in study.glob("*_*.dcm")}
    for options, expected in (({}, images), ({"series": SEG_UID}, {str(mask.SOPInstanceUID)})):
        item = Letterboxd("image", size=64)(LoadCased("image", **options)({"image": str(study)}))
        found = find_source(str(study), item["image_meta"].record())
        assert {image.sop_instance for image in found.images} <= expected
        frames = source_grid(item["image_meta"].record()).frames
        assert {str(pydicom.dcmread(frame.file.path).SOPInstanceUID) for frame in frames} <= expected
    assert {image.sop_instance for image in find_source(str(study)).images} == images


def test_a_clip_beats_a_scout_and_a_volume_beats_captures(tmp_path: Path) -> None:
    scout = made_files.body(2)
    made_files.ct_series(tmp_path / "s", scout, SeriesNumber=1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    made_files.save(tmp_path / "s" / "capture.dcm", clip(9, MultiFrameGrayscaleByteSecondaryCaptureImageStorage))
    assert read_case(tmp_path / "s").meta["series"]["images"] == 9  # the scout comes last
    made_files.save(tmp_path / "s" / "clip.dcm", clip(7, XRayAngiographicImageStorage, SeriesNumber=2))
    case = read_case(tmp_path / "s")
    assert (case.meta["series"]["number"], case.meta["frame"]) == (2, [3])
    assert any("left series 0 with 9, series 1 with 2" in note for note in case.meta["notes"])
    made_files.ct_series(tmp_path / "s", made_files.body(8), SeriesNumber=4)
    assert read_case(tmp_path / "s").meta["series"]["number"] == 4


def test_a_scout_of_two_unmarked_slices_is_smaller_than_a_clip(tmp_path: Path) -> None:
    made_files.ct_series(tmp_path, made_files.body(2), SeriesNumber=1)
    made_files.save(tmp_path / "clip.dcm", clip(5, XRayAngiographicImageStorage, SeriesNumber=2))
    assert read_case(tmp_path).meta["series"]["number"] == 2


def test_many_plain_pictures_do_not_outweigh_a_volume(tmp_path: Path) -> None:
    made_files.ct_series(tmp_path, made_files.body(4), SeriesNumber=7)
    for number in range(6):
        film = made_files.dataset(made_files.phantom(seed=number), modality="CR", SeriesInstanceUID="1.2.4",
                                  SeriesNumber=1, InstanceNumber=number)  # fmt: skip
        made_files.save(tmp_path / f"film{number}.dcm", film)
    assert read_case(tmp_path).meta["series"]["number"] == 7
