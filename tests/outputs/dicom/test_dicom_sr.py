"""Structured reports: valid to tools that are not ours, of the right patient, study, image and frame, or refused."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pydicom
import pytest
import torch
from dicom_checks import CAPTION, PYDICOM_FILES, altered, assert_valid, dumped, readable, record_of
from PIL import Image
from pydicom.uid import UID

from scripts.errors import InputError
from scripts.outputs.captioned_case import CaptionedCase
from scripts.outputs.delivery import Delivery
from scripts.outputs.dicom.sr import DicomSrWriter, write_sr
from scripts.outputs.dicom.sr_enhanced import EnhancedSrWriter

CT = PYDICOM_FILES / "CT_small.dcm"
ULTRASOUND = PYDICOM_FILES / "examples_ybr_color.dcm"
KINDS = ("basic", "enhanced")


def leaf(document: pydicom.Dataset, value_type: str) -> list[pydicom.Dataset]:
    """All content items of a value type, in the order of the tree."""
    found = []
    for item in document.get("ContentSequence", []):
        found += ([item] if item.ValueType == value_type else []) + leaf(item, value_type)
    return found


def caption_in(document: pydicom.Dataset) -> str:
    items = [i for i in leaf(document, "TEXT") if i.ConceptNameCodeSequence[0].CodeValue == "121071"]
    assert len(items) == 1
    return items[0].TextValue


def references(document: pydicom.Dataset) -> dict[str, list[int]]:
    found = {}
    for item in leaf(document, "IMAGE"):
        reference = item.ReferencedSOPSequence[0]
        numbers = reference.get("ReferencedFrameNumber", [])
        found[reference.ReferencedSOPInstanceUID] = [numbers] if isinstance(numbers, int) else list(numbers)
    return found


def check(source: Path, target: Path, kind: str) -> None:
    """Write a report of one file and compare everything that must be the source's with pydicom's own reading."""
    document = pydicom.dcmread(write_sr(source, record_of(source), target, kind=kind))
    assert_valid(target)
    assert CAPTION in dumped(target)
    original = pydicom.dcmread(source, force=True, stop_before_pixels=True)
    for keyword in ("PatientID", "StudyInstanceUID", "AccessionNumber", "StudyID"):
        assert str(document.get(keyword) or "") == str(original.get(keyword) or "").strip(), keyword
    assert str(document.PatientName or "").rstrip("^") == str(original.get("PatientName") or "").rstrip("^")
    assert (document.CompletionFlag, document.PreliminaryFlag) == ("PARTIAL", "PRELIMINARY")
    assert document.VerificationFlag == "UNVERIFIED"
    assert "not for clinical use" in document.SeriesDescription
    assert list(references(document)) == [original.SOPInstanceUID]
    evidence = document.CurrentRequestedProcedureEvidenceSequence[0]
    assert evidence.StudyInstanceUID == original.StudyInstanceUID
    assert evidence.ReferencedSeriesSequence[0].SeriesInstanceUID == original.SeriesInstanceUID
    assert document.SeriesInstanceUID != original.SeriesInstanceUID


@pytest.mark.parametrize("kind", KINDS)
def test_every_dicom_kind(shared_data: Path, tmp_path: Path, kind: str) -> None:
    files = readable(shared_data / "formats" / "dicom")
    assert len(files) >= 9
    for source in files:
        check(source, tmp_path / f"{source.stem}.dcm", kind)


def test_pydicoms_own_files_are_reported_or_refused_by_name(tmp_path: Path) -> None:
    reported = refused = 0
    for number, source in enumerate(readable(PYDICOM_FILES)):
        header = pydicom.dcmread(source, force=True, stop_before_pixels=True)
        if header.get("PatientID") and header.get("StudyInstanceUID"):
            check(source, tmp_path / f"{source.stem}.dcm", KINDS[number % 2])
            reported += 1
        else:
            with pytest.raises(InputError, match=f"{source.name}.*(PatientID|StudyInstanceUID)"):
                write_sr(source, record_of(source), tmp_path / "no.dcm")
            refused += 1
    assert reported >= 20 and refused >= 3
    assert not (tmp_path / "no.dcm").exists()


def test_a_slice_of_a_series_is_referenced_and_a_reformat_names_all(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "formats" / "ct_series"
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in sorted(folder.glob("*.dcm"))]
    by_height = [h.SOPInstanceUID for h in sorted(headers, key=lambda h: float(h.ImagePositionPatient[2]))]
    for chosen, position in (("middle", len(by_height) // 2), (0, 0), (5, 5)):
        path = write_sr(folder, record_of(folder, slice=chosen, plane="axial"), tmp_path / "one.dcm")
        assert list(references(pydicom.dcmread(path))) == [by_height[position]]
        assert_valid(path)
    path = write_sr(folder, record_of(folder, plane="coronal"), tmp_path / "across.dcm", kind="enhanced")
    assert set(references(pydicom.dcmread(path))) == set(by_height)
    assert_valid(path)
    several = [str(p) for p in sorted(folder.glob("*.dcm"))[:3]]
    path = write_sr(several, record_of(several), tmp_path / "views.dcm")
    assert len(references(pydicom.dcmread(path))) == 3
    assert_valid(path)


def test_frames_are_named_where_the_class_allows(tmp_path: Path) -> None:
    frames = int(pydicom.dcmread(ULTRASOUND, stop_before_pixels=True).NumberOfFrames)
    document = pydicom.dcmread(write_sr(ULTRASOUND, record_of(ULTRASOUND), tmp_path / "a.dcm"))
    assert list(references(document).values()) == [[frames // 2 + 1]]
    document = pydicom.dcmread(write_sr(ULTRASOUND, record_of(ULTRASOUND, frame=[0, 7]), tmp_path / "b.dcm"))
    assert list(references(document).values()) == [[1, 8]]
    assert_valid(tmp_path / "b.dcm")
    capture = PYDICOM_FILES / "SC_rgb_rle_2frame.dcm"  # two frames in a class of single frames
    path = write_sr(capture, record_of(capture), tmp_path / "c.dcm")
    assert_valid(path)
    assert "Frame 2 of the image" in dumped(path)


def test_the_same_run_gives_the_same_bytes_and_any_change_another_identity(tmp_path: Path) -> None:
    record = record_of(CT)
    first = write_sr(CT, record, tmp_path / "1.dcm").read_bytes()
    assert write_sr(CT, record, tmp_path / "2.dcm").read_bytes() == first
    uids = {
        pydicom.dcmread(write_sr(CT, changed, tmp_path / "3.dcm", **options)).SOPInstanceUID
        for changed, options in (
            (record, {}),
            (record, {"kind": "enhanced"}),
            (record, {"edited": True}),
            (record, {"when": datetime(2026, 1, 2, 3, 4, 5)}),
            ({**record, "caption": "Another."}, {}),
            ({**record, "weights": {"model.pt": "00" * 32}}, {}),
        )
    }
    assert len(uids) == 6
    for uid in uids:
        assert UID(uid).is_valid and uid.startswith("2.25.") and int(uid[5:]) < 2**128


def test_time_of_writing_is_the_sources_unless_given(tmp_path: Path) -> None:
    original = pydicom.dcmread(CT, stop_before_pixels=True)
    document = pydicom.dcmread(write_sr(CT, record_of(CT), tmp_path / "a.dcm"))
    assert document.ContentDate == original.ContentDate
    offset = altered(CT, tmp_path / "in.dcm", lambda d: setattr(d, "TimezoneOffsetFromUTC", "+0530"))
    when = datetime(2026, 1, 2, 23, 0, 0, tzinfo=UTC)
    document = pydicom.dcmread(write_sr(offset, record_of(offset), tmp_path / "b.dcm", when=when))
    assert (document.ContentDate, document.ContentTime) == ("20260103", "043000")
    assert_valid(tmp_path / "b.dcm")


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "Müller^Zoë"),
        ("ISO_IR 144", "Люкceмбypг"),
        ("ISO_IR 192", "Wang^XiaoDong=王^小东"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        ("ISO_IR 127", "قباني^لنزار"),
    ],
)
def test_names_survive_any_character_set(tmp_path: Path, charset: str | list[str], name: str) -> None:
    def rename(dataset: pydicom.Dataset) -> None:
        dataset.SpecificCharacterSet = charset
        dataset.PatientName = name

    source = altered(CT, tmp_path / "in.dcm", rename)
    path = write_sr(source, record_of(source), tmp_path / "sr.dcm")
    document = pydicom.dcmread(path)
    assert document.SpecificCharacterSet == "ISO_IR 192"
    assert str(document.PatientName) == name
    assert name.split("=")[0] in dumped(path)
    assert_valid(path)


def test_two_patients_or_studies_in_a_case_are_refused(tmp_path: Path) -> None:
    changes = {
        "PatientID": "another",
        "PatientName": "Somebody^Else",
        "PatientBirthDate": "19700101",
        "StudyInstanceUID": "1.2.3.4",
    }
    for keyword, value in changes.items():
        folder = tmp_path / keyword
        folder.mkdir()
        shutil.copy(CT, folder / "a.dcm")

        def other(dataset: pydicom.Dataset, keyword: str = keyword, value: str = value) -> None:
            setattr(dataset, keyword, value)
            dataset.SOPInstanceUID += ".1"
            dataset.PatientBirthDate = value if keyword == "PatientBirthDate" else dataset.PatientBirthDate

        altered(CT, folder / "b.dcm", other)
        word = "studies" if keyword == "StudyInstanceUID" else "patients"
        for source in (folder, [folder / "a.dcm", folder / "b.dcm"]):
            with pytest.raises(InputError, match=f"several {word}.*give the images of one study") as refused:
                write_sr(source, {"caption": "x"}, tmp_path / "no.dcm")
            assert value not in str(refused.value).replace(str(folder), "") or keyword == "StudyInstanceUID"
    assert not (tmp_path / "no.dcm").exists()


@pytest.mark.parametrize("keyword", ["PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_without_an_identifier_there_is_no_report(tmp_path: Path, keyword: str) -> None:
    source = altered(CT, tmp_path / "in.dcm", lambda d: setattr(d, keyword, ""))
    with pytest.raises(InputError, match=rf"in\.dcm.*{keyword}"):
        write_sr(source, {"caption": "x"}, tmp_path / "no.dcm")
    source = altered(CT, tmp_path / "in.dcm", lambda d: setattr(d, keyword, "not a uid!"))
    if keyword != "PatientID":
        with pytest.raises(InputError, match=rf"in\.dcm.*{keyword}"):
            write_sr(source, {"caption": "x"}, tmp_path / "no.dcm")


def test_what_is_no_dicom_or_has_no_caption_is_refused(tmp_path: Path) -> None:
    Image.effect_noise((40, 40), 90).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png: is not DICOM"):
        write_sr(tmp_path / "a.png", {"caption": "x"}, tmp_path / "no.dcm")
    with pytest.raises(InputError, match="no caption"):
        write_sr(CT, {"image": "CT", "caption": None, "error": "broken"}, tmp_path / "no.dcm")
    with pytest.raises(InputError, match="kind"):
        write_sr(CT, record_of(CT), tmp_path / "no.dcm", kind="comprehensive")


def test_old_and_odd_values_are_put_right_or_left_out(tmp_path: Path) -> None:
    def spoil(dataset: pydicom.Dataset) -> None:
        with pydicom.config.disable_value_validation():
            dataset.StudyDate, dataset.PatientBirthDate = "1997.04.24", "unknown"
            dataset.PatientSex, dataset.PatientAge = "X", "5"
            dataset.PatientIdentityRemoved = "YES"
            dataset.AccessionNumber = "A" * 40

    source = altered(CT, tmp_path / "in.dcm", spoil)
    document = pydicom.dcmread(write_sr(source, record_of(source), tmp_path / "sr.dcm"))
    assert document.StudyDate == "19970424" and not document.PatientBirthDate and not document.PatientSex
    assert "PatientAge" not in document and not document.AccessionNumber
    assert_valid(tmp_path / "sr.dcm")


def test_writers_file_each_case_under_their_own_folder(tmp_path: Path) -> None:
    record = record_of(CT)
    case = CaptionedCase(source=str(CT), record=record, image=None, words=())
    basic = DicomSrWriter(output_dir=tmp_path).add(case)
    enhanced = EnhancedSrWriter(output_dir=tmp_path).add(case)
    assert [p.parent.name for p in basic + enhanced] == ["dicom_sr", "dicom_sr_enhanced"]
    assert DicomSrWriter(output_dir=tmp_path).add(case) == basic
    document = pydicom.dcmread(enhanced[0])
    numbers = {
        item.ConceptNameCodeSequence[0].CodeValue: float(item.MeasuredValueSequence[0].NumericValue)
        for item in leaf(document, "NUM")
    }
    assert numbers == {"KIND-PROB": record["confidence"], "FINDING-PROB": record["finding_confidence"]}
    assert not leaf(pydicom.dcmread(basic[0]), "NUM")
    assert "plane, kind, organ: 88 %; finding: 12 %" in dumped(basic[0])
    unstated = {**record, "finding_confidence": None, "findings": [{**record["findings"][0], "stated": False}]}
    write_sr(CT, unstated, tmp_path / "unstated.dcm")
    assert "plane, kind, organ: 88 %; finding: not stated" in dumped(tmp_path / "unstated.dcm")
    now = DicomSrWriter(output_dir=tmp_path / "now", time="now").add(case)
    assert pydicom.dcmread(now[0]).ContentDate >= "2025"
    with pytest.raises(InputError, match="time"):
        DicomSrWriter(output_dir=tmp_path, time="yesterday")


def test_a_refused_report_is_noted_and_the_run_goes_on(tmp_path: Path) -> None:
    """Through the door that inference.json uses: every report of a good case, none of an ambiguous one."""
    (tmp_path / "mixed").mkdir()
    shutil.copy(CT, tmp_path / "mixed" / "a.dcm")
    altered(CT, tmp_path / "mixed" / "b.dcm", lambda d: setattr(d, "PatientID", "another"))
    names = ("dicom_sr", "dicom_sr_enhanced", "dicom_pdf", "fhir")
    delivery = Delivery(tmp_path / "out", outputs=[*names, "jsonl"], options={"fhir": {"time": "now"}})
    for source in (tmp_path / "mixed", CT):
        case = CaptionedCase(str(source), {**record_of(source), "image": str(source)}, torch.rand(1, 3, 32, 32), ())
        delivery.deliver(case)
    delivery.finish()
    mixed, good = (json.loads(line) for line in (tmp_path / "out" / "captions.jsonl").read_text().splitlines())
    assert list(mixed["output_errors"]) == list(names) and delivery.failed == 1
    assert all("several patients" in sentence for sentence in mixed["output_errors"].values())
    assert "output_errors" not in good
    assert all(len(list((tmp_path / "out" / name).iterdir())) == 1 for name in names)
