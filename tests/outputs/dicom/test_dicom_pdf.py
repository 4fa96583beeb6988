"""The printed page: what it says and shows, by poppler; its DICOM wrapping, by dciodvfy."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from dicom_checks import CAPTION, PYDICOM_FILES, altered, assert_valid, record_of
from matplotlib.font_manager import findfont, get_font
from monai.transforms import Compose
from PIL import Image

from scripts.errors import InputError
from scripts.outputs.captioned_case import CaptionedCase
from scripts.outputs.dicom.pdf import DicomPdfWriter, write_pdf
from scripts.outputs.dicom.pdf_page import is_drawable, wrapped
from scripts.transforms import Letterboxd, LoadCased, WindowToUnitd

CT = PYDICOM_FILES / "CT_small.dcm"
COLOUR = PYDICOM_FILES / "examples_rgb_color.dcm"


def case_of(source: Path) -> CaptionedCase:
    chain = Compose([LoadCased("image"), WindowToUnitd("image"), Letterboxd("image", size=256)])
    item = chain({"image": str(source)})
    meta = item["image_meta"].record()
    record = {**record_of(source), "window": meta["window"], "trace": {"input": meta}}
    image = item["image"]
    return CaptionedCase(str(source), record, image[None] if image.ndim == 3 else image, ())


def pdf_in(path: Path) -> Path:
    """The PDF file inside a DICOM file."""
    document = pydicom.dcmread(path)
    assert document.MIMETypeOfEncapsulatedDocument == "application/pdf"
    inside = path.with_suffix(".pdf")
    inside.write_bytes(document.EncapsulatedDocument[: document.EncapsulatedDocumentLength])
    return inside


def poppler(*command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed (Debian: apt-get install poppler-utils)")
    return subprocess.run(command, check=True, capture_output=True).stdout.decode("utf-8")


def words_on(path: Path) -> str:
    return " ".join(poppler("pdftotext", "-layout", str(pdf_in(path)), "-").split())


def test_the_page_says_what_it_must_and_shows_the_image(tmp_path: Path) -> None:
    case = case_of(COLOUR)
    path = DicomPdfWriter(output_dir=tmp_path).add(case)[0]
    assert_valid(path)
    text = words_on(path)
    original = pydicom.dcmread(COLOUR, stop_before_pixels=True)
    doubts = ("Plane, kind, organ: 88 %", "Finding: 12 %")
    for expected in (CAPTION, original.PatientID, "CompressedSamples, US1", "2004-08-26", original.SOPInstanceUID,
                     *doubts, "NOT FOR CLINICAL USE", "not reviewed by a person"):  # fmt: skip
        assert expected in text, expected
    assert "Pages: 1 " in " ".join(poppler("pdfinfo", str(pdf_in(path))).split()) + " "
    poppler("pdfimages", "-png", str(pdf_in(path)), str(tmp_path / "picture"))
    pictures = [np.asarray(Image.open(p).convert("RGB"), float) for p in sorted(tmp_path.glob("picture*.png"))]
    box = case.record["trace"]["input"]["resize"]
    (top, left), (rows, columns) = box["offset"], box["to"]
    shown = case.image[0, :, top : top + rows, left : left + columns].permute(1, 2, 0).numpy() * 255
    assert any(p.shape == shown.shape and np.abs(p[::-1] - shown).max() <= 1.0 for p in pictures)  # stored upside down
    poppler("pdftoppm", "-r", "127", "-png", "-singlefile", str(pdf_in(path)), str(tmp_path / "page"))  # 5 pixels a mm
    page = Image.open(tmp_path / "page.png").convert("RGB")
    half = 5 * columns * min(170 / columns, 100 / rows) / 2, 5 * rows * min(170 / columns, 100 / rows) / 2
    x, y = 5 * 105, 5 * (68.8 + 52)  # the middle of the picture's field
    crop = page.crop((int(x - half[0]), int(y - half[1]), int(x + half[0]), int(y + half[1])))
    seen = np.asarray(crop.resize((columns, rows), Image.Resampling.BOX), float)
    assert np.corrcoef(seen.ravel(), shown.ravel())[0, 1] > 0.97
    assert np.corrcoef(seen[::-1].ravel(), shown.ravel())[0, 1] < 0.8


def test_every_dicom_kind_is_valid(shared_data: Path, tmp_path: Path) -> None:
    for source in (*sorted((shared_data / "formats" / "dicom").glob("*.dcm")), shared_data / "formats" / "ct_series"):
        path = write_pdf(source, record_of(source), tmp_path / f"{source.stem}.dcm")
        assert_valid(path)
        original = pydicom.dcmread(source / "01.dcm" if source.is_dir() else source, stop_before_pixels=True)
        document = pydicom.dcmread(path)
        assert document.PatientID == original.PatientID and document.StudyInstanceUID == original.StudyInstanceUID
        assert document.VerificationFlag == "UNVERIFIED" and "not for clinical use" in document.SeriesDescription


def test_equal_runs_give_equal_bytes(tmp_path: Path) -> None:
    case = case_of(CT)
    first = DicomPdfWriter(output_dir=tmp_path / "1").add(case)[0]
    second = DicomPdfWriter(output_dir=tmp_path / "2").add(case)[0]
    assert first.name == second.name and first.read_bytes() == second.read_bytes()


def test_names_that_the_fonts_lack_fall_back_to_a_form_they_have(tmp_path: Path) -> None:
    def rename(dataset: pydicom.Dataset, name: str) -> None:
        dataset.SpecificCharacterSet, dataset.PatientName = "ISO_IR 192", name

    for name, printed in (
        ("山田^太郎=Yamada^Tarou", "Yamada, Tarou"),
        ("山田^太郎", "(see the DICOM header)"),
        ("Żółć^Ève", "Żółć, Ève"),
        ("Иванов^Пётр", "Иванов, Пётр"),
    ):
        source = altered(CT, tmp_path / "in.dcm", lambda d, name=name: rename(d, name))
        path = write_pdf(source, record_of(source), tmp_path / "page.dcm")
        assert printed in words_on(path)
        assert str(pydicom.dcmread(path).PatientName) == name
        assert_valid(path)


def test_long_short_and_odd_captions_stay_on_the_page(tmp_path: Path) -> None:
    for caption, expected in (
        ("word " * 120, "word word"),
        ("word " * 2000, "the whole text is in the structured report"),
        ("A" * 4000, "AAAA"),
        (r"costs $5 and $6, \alpha_2^3 100 %", r"costs $5 and $6, \alpha_2^3 100 %"),
        ("頭部CT", "cannot be printed here"),
    ):
        path = write_pdf(CT, record_of(CT, caption=caption), tmp_path / "page.dcm")
        text = words_on(path)
        assert expected in text
        assert "Not for clinical use." in text and "SHA-256" in text
        assert_valid(path)


def test_lines_break_at_words_and_fit() -> None:
    lines = wrapped("a quick brown fox jumps over the lazy dog " * 5, 60, 10)
    assert len(lines) > 3 and " ".join(lines).split() == ("a quick brown fox jumps over the lazy dog " * 5).split()
    assert wrapped("", 60, 10) == []
    assert "".join(wrapped("x" * 500, 60, 10)) == "x" * 500
    assert len(wrapped("x " * 500, 60, 10, most=3)) == 3
    font = get_font(findfont("DejaVu Sans"))
    font.set_size(1000, 72)  # unhinted, as in a PDF
    font.set_text(lines[0], 0.0)
    assert 40 < font.get_width_height()[0] / 64 / 100 / 72 * 25.4 < 60.5
    assert is_drawable("é α Ж") and not is_drawable("漢")


def test_four_views_and_what_is_refused(tmp_path: Path) -> None:
    path = write_pdf(CT, record_of(CT), tmp_path / "page.dcm", image=torch.rand(6, 3, 32, 48))
    poppler("pdfimages", "-png", str(pdf_in(path)), str(tmp_path / "picture"))
    assert len(list(tmp_path.glob("picture*.png"))) == 4
    with pytest.raises(InputError, match="no caption"):
        write_pdf(CT, {"caption": ""}, tmp_path / "no.dcm")
    with pytest.raises(InputError, match="time"):
        DicomPdfWriter(output_dir=tmp_path, time="then")
