"""Nothing that identifies a person leaves the reader; burned-in text can be blanked."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import made_files
import numpy as np
import pydicom
import pytest
from PIL import Image, ImageDraw, ImageFont

from scripts.errors import InputError
from scripts.reading import read_case
from scripts.reading.burned_in import find_text
from scripts.transforms import LoadCased, MedicalImageReader, WindowToUnitd

SECRET = "ZZSECRET"


def _secretive() -> pydicom.Dataset:
    """A data set with a secret in every text element that DICOM images commonly carry, valid or not for its kind."""
    made = made_files.ct_slice(made_files.body()[5])
    names = ("PatientName", "PatientID", "PatientBirthDate", "PatientAddress", "OtherPatientIDs", "AccessionNumber",
             "StudyID", "StudyDescription", "SeriesDescription", "ProtocolName", "InstitutionName", "StationName",
             "ReferringPhysicianName", "OperatorsName", "ImageComments", "PatientComments", "DeviceSerialNumber",
             "BodyPartExamined", "Modality", "StudyDate", "WindowCenterWidthExplanation", "VOILUTFunction",
             "DerivationDescription", "ConvolutionKernel", "RescaleType", "BurnedInAnnotation", "FrameOfReferenceUID",
             "SeriesInstanceUID", "StudyInstanceUID", "PatientPosition", "Laterality")  # fmt: skip
    with pydicom.config.disable_value_validation():
        for name in names:
            setattr(made, name, SECRET)
    return made


def test_no_text_of_the_header_is_in_meta_messages_or_logs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = _secretive()
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        path = made_files.save(tmp_path / "a.dcm", made)
        made.SeriesInstanceUID, made.SeriesNumber = SECRET + "2", 4
        made_files.save(tmp_path / "b.dcm", made)
        made.Rows = 4000
        (tmp_path / "bad").mkdir()
        bad = made_files.save(tmp_path / "bad" / "c.dcm", made)
    caplog.clear()  # what pydicom said while writing
    with warnings.catch_warnings(record=True) as heard, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        found = [read_case(path).meta, read_case(tmp_path).meta, MedicalImageReader().get_data([(str(path), {})])[1]]
        item = WindowToUnitd("image")(LoadCased("image")({"image": str(path)}))
        with pytest.raises(InputError) as caught:
            read_case(bad)
    said = caplog.text + "".join(str(w.message) for w in heard)
    text = repr(found) + repr(item["image_meta"]) + str(caught.value) + said
    assert SECRET not in text.upper()
    assert "DOE" not in text and "4711" not in text


def _with_text(background: np.ndarray, size: int, at: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(image with a name written on it, mask of the letters)."""
    height, width = background.shape
    layer = Image.new("L", (width, height), 0)
    ImageDraw.Draw(layer).text(at, "DOE JANE 1961-02-03", fill=255, font=ImageFont.load_default(size))
    letters = np.asarray(layer)
    return np.maximum(background, letters), letters > 128


@pytest.mark.parametrize("size", [11, 16, 24])
@pytest.mark.parametrize("at", [(8, 6), (60, 470)])
def test_burned_in_text_is_blanked_and_the_picture_is_not(tmp_path: Path, size: int, at: tuple[int, int]) -> None:
    y, x = np.mgrid[0:512, 0:512]
    cone = ((np.hypot(x - 256, y - 250) < 190) * 90).astype(np.uint8)
    speckle = np.random.default_rng(0).integers(0, 40, cone.shape).astype(np.uint8)
    picture = np.where(cone > 0, cone + speckle, 0).astype(np.uint8)
    written, letters = _with_text(picture, size, at)
    Image.fromarray(written).save(tmp_path / "a.png")
    case = read_case(tmp_path / "a.png", mask_text=True)
    found = case.pixels[0, 0]
    assert (found[letters] == 0).mean() > 0.98
    assert (found == picture)[cone > 0].mean() > 0.99
    assert case.meta["masked"]["text_boxes"][0]
    np.testing.assert_array_equal(read_case(tmp_path / "a.png").pixels[0, 0], written)


def test_outside_of_ultrasound_regions_is_blanked(tmp_path: Path) -> None:
    grey = made_files.phantom(80, 100, top=255)
    region = pydicom.Dataset()
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 20, 10
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = 79, 69
    made = made_files.dataset(grey, modality="US", allocated=8, SequenceOfUltrasoundRegions=[region])
    case = read_case(made_files.save(tmp_path / "a.dcm", made), mask_text=True)
    inside = np.zeros(grey.shape, bool)
    inside[10:70, 20:80] = True
    np.testing.assert_array_equal(case.pixels[0, 0][inside], grey[inside])
    assert case.pixels[0, 0][~inside].max() == grey.min()


def test_anatomy_is_not_taken_for_text() -> None:
    root = Path(pydicom.__file__).parent / "data" / "test_files"
    for name in ("693_J2KI.dcm", "CT_small.dcm", "MR_small.dcm", "examples_overlay.dcm"):
        assert find_text(read_case(root / name).pixels[0, 0]) == []
