"""FHIR reports: valid to fhir.resources, with the identifiers of the source image."""

from __future__ import annotations

import json
import warnings
import xml.dom.minidom
from datetime import UTC, datetime
from pathlib import Path

import pydicom
import pytest
from dicom_checks import CAPTION, PYDICOM_FILES, altered, readable, record_of

from scripts.errors import InputError
from scripts.outputs.captioned_case import CaptionedCase
from scripts.outputs.fhir import FhirWriter, write_fhir
from scripts.reading.dicom.file import quiet_pydicom

CT = PYDICOM_FILES / "CT_small.dcm"
ULTRASOUND = PYDICOM_FILES / "examples_ybr_color.dcm"


def validated(path: Path) -> dict:
    """The report, read by an independent implementation of FHIR R4B (for these resources the same as R4)."""
    pytest.importorskip("fhir.resources", reason="fhir.resources is not installed (requirements-dev.txt)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fhir.resources.R4B.diagnosticreport import DiagnosticReport
    report = DiagnosticReport.model_validate_json(path.read_text(encoding="utf-8"))
    kinds = [type(resource).__name__ for resource in report.contained]
    assert kinds == ["Patient", "ImagingStudy", "Device", "Observation"]
    plain = json.loads(path.read_text(encoding="utf-8"))
    contained = {f"#{resource['id']}" for resource in plain["contained"]}
    text = json.dumps(plain)
    assert all(f'"reference": "{name}"' in text for name in contained)  # FHIR invariant dom-3
    assert text.count('"reference": "#') == sum(text.count(f'"reference": "{name}"') for name in contained)
    return plain


def contained(report: dict, kind: str) -> dict:
    return next(resource for resource in report["contained"] if resource["resourceType"] == kind)


def test_every_dicom_kind(shared_data: Path, tmp_path: Path) -> None:
    files = readable(shared_data / "formats" / "dicom")
    assert len(files) >= 9
    for source in files:
        original = pydicom.dcmread(source, stop_before_pixels=True)
        report = validated(write_fhir(source, record_of(source), tmp_path / "report.json"))
        assert report["conclusion"] == CAPTION and report["status"] == "preliminary"
        assert contained(report, "Patient")["identifier"][0]["value"] == original.PatientID
        study = contained(report, "ImagingStudy")
        assert study["identifier"] == [{"system": "urn:dicom:uid", "value": f"urn:oid:{original.StudyInstanceUID}"}]
        assert study["series"][0]["uid"] == original.SeriesInstanceUID
        assert study["series"][0]["instance"][0]["uid"] == original.SOPInstanceUID
        assert "issued" not in report
        note = contained(report, "Observation")["note"][0]["text"]
        assert "Not for clinical use" in note and "finding: 12 %" in note


def test_names_sex_dates_and_frames(tmp_path: Path) -> None:
    def change(dataset: pydicom.Dataset) -> None:
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.PatientName = "Yamada^Tarou^^Dr.=山田^太郎=やまだ^たろう"
        dataset.PatientBirthDate, dataset.PatientSex, dataset.StudyDate = "19610203", "F", "20240506"
        dataset.AccessionNumber, dataset.IssuerOfPatientID = "A-1", "Clinic"

    source = altered(ULTRASOUND, tmp_path / "in.dcm", change)
    when = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    report = validated(write_fhir(source, record_of(source), tmp_path / "report.json", when=when))
    patient = contained(report, "Patient")
    assert [name["family"] for name in patient["name"]] == ["Yamada", "山田", "やまだ"]
    assert [name["extension"][0]["valueCode"] for name in patient["name"]] == ["ABC", "IDE", "SYL"]
    assert patient["name"][0]["given"] == ["Tarou"] and patient["name"][0]["prefix"] == ["Dr."]
    assert (patient["gender"], patient["birthDate"]) == ("female", "1961-02-03")
    assert patient["identifier"][0]["assigner"]["display"] == "Clinic"
    assert report["effectiveDateTime"] == "2024-05-06"
    assert datetime.fromisoformat(report["issued"]) == when
    assert report["identifier"][1]["value"] == "A-1"
    frames = int(pydicom.dcmread(source, stop_before_pixels=True).NumberOfFrames)
    assert contained(report, "ImagingStudy")["series"][0]["instance"][0]["title"] == f"frame {frames // 2 + 1}"


def test_markup_in_a_caption_stays_text(tmp_path: Path) -> None:
    report = validated(write_fhir(CT, record_of(CT, caption="<b>5 > 3 & 2</b>"), tmp_path / "report.json"))
    assert report["conclusion"] == "<b>5 > 3 & 2</b>"
    assert "&lt;b&gt;5 &gt; 3 &amp; 2" in report["text"]["div"]


def test_characters_that_neither_xml_nor_dicom_holds_are_left_out(tmp_path: Path) -> None:
    report = validated(write_fhir(CT, record_of(CT, caption="a\x00b \x01c\x7f \ud800 d\ufffe 🫁"), tmp_path / "a.json"))
    assert report["conclusion"] == "a b c d 🫁"
    xml.dom.minidom.parseString(report["text"]["div"])
    with pytest.raises(InputError, match="empty"):
        write_fhir(CT, record_of(CT, caption=" \x00\u200b "), tmp_path / "b.json")


@pytest.mark.parametrize(
    ("keyword", "value"), [("PatientID", "x" * 100), ("PatientID", ["A", "B"]), ("StudyInstanceUID", "1.2.abc")]
)
def test_an_invalid_identity_is_refused_as_in_the_other_reports(tmp_path: Path, keyword: str, value: object) -> None:
    with quiet_pydicom():
        source = altered(CT, tmp_path / "in.dcm", lambda dataset: setattr(dataset, keyword, value))
    with pytest.raises(InputError, match=rf"in\.dcm: its {keyword} is missing or invalid"):
        write_fhir(source, record_of(source), tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()


def test_writer_is_reproducible_and_edited_text_has_no_doubts(tmp_path: Path) -> None:
    case = CaptionedCase(source=str(CT), record=record_of(CT), image=None, words=())
    first = FhirWriter(output_dir=tmp_path / "1").add(case)[0]
    second = FhirWriter(output_dir=tmp_path / "2").add(case)[0]
    assert first.parent.name == "fhir" and first.name == second.name
    assert first.read_bytes() == second.read_bytes()
    assert "issued" in validated(FhirWriter(output_dir=tmp_path / "3", time="now").add(case)[0])
    report = validated(write_fhir(CT, record_of(CT), tmp_path / "edited.json", edited=True))
    note = contained(report, "Observation")["note"][0]["text"]
    assert "edited by a person" in note and "chance" not in note
    assert "component" not in contained(report, "Observation")
    drafted = contained(validated(write_fhir(CT, record_of(CT), tmp_path / "draft.json")), "Observation")
    assert "plane, kind, organ: 88 %; finding: 12 %" in drafted["note"][0]["text"]
    assert [one["valueQuantity"]["value"] for one in drafted["component"]] == [0.876543, 0.1234]
    with pytest.raises(InputError, match="time"):
        FhirWriter(output_dir=tmp_path, time="then")
