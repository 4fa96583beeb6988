"""Reports through a real PACS: a study is stored in Orthanc, captioned, its reports are stored and read back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from dicom_checks import CAPTION, PYDICOM_FILES, altered, record_of
from orthanc import Orthanc, missing_orthanc, orthanc_server

from scripts.outputs.dicom.pdf import write_pdf
from scripts.outputs.dicom.sr import write_sr

reason = missing_orthanc()
pytestmark = [pytest.mark.skipif(reason is not None, reason=str(reason)), pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with orthanc_server(tmp_path_factory.mktemp("pacs")) as server:
        yield server


def value(found: dict, tag: str) -> str:
    return found[tag]["Value"][0]


def reports_of(source: Path, folder: Path) -> list[Path]:
    """One of each kind."""
    record = record_of(source)
    return [
        write_sr(source, record, folder / "basic.dcm"),
        write_sr(source, record, folder / "enhanced.dcm", kind="enhanced"),
        write_pdf(source, record, folder / "page.dcm"),
    ]


def check(orthanc: Orthanc, images: list[Path], reports: list[Path]) -> None:
    """Store images and reports; everything is one study of one patient, and comes back byte for byte."""
    orthanc.store(images)
    orthanc.store(reports)
    orthanc.store(reports)  # a second time changes nothing: the identifiers are the same
    original = pydicom.dcmread(images[0], stop_before_pixels=True)
    studies = orthanc.find_studies(StudyInstanceUID=original.StudyInstanceUID)
    assert len(studies) == 1
    by_modality = {value(s, "00080060"): s for s in orthanc.find_series(original.StudyInstanceUID)}
    assert {"SR", "DOC"} < set(by_modality)
    for report in reports:
        written = pydicom.dcmread(report)
        assert written.PatientID == original.PatientID
        series = orthanc.find_series(original.StudyInstanceUID, SeriesInstanceUID=written.SeriesInstanceUID)
        assert len(series) == 1
        uids = original.StudyInstanceUID, written.SeriesInstanceUID
        assert [value(i, "00080018") for i in orthanc.find_instances(*uids)] == [written.SOPInstanceUID]
        assert orthanc.retrieve(*uids, written.SOPInstanceUID) == report.read_bytes()


def test_every_dicom_kind(orthanc: Orthanc, shared_data: Path, tmp_path: Path) -> None:
    for source in sorted((shared_data / "formats" / "dicom").glob("*.dcm")):
        check(orthanc, [source], reports_of(source, tmp_path / source.stem))


def test_a_ct_series(orthanc: Orthanc, shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "formats" / "ct_series"
    images = sorted(folder.glob("*.dcm"))
    reports = reports_of(folder, tmp_path)
    check(orthanc, images, reports)
    study = pydicom.dcmread(images[0], stop_before_pixels=True).StudyInstanceUID
    stored = {value(i, "00080018") for s in orthanc.find_series(study) if value(s, "00080060") == "CT"
              for i in orthanc.find_instances(study, value(s, "0020000E"))}  # fmt: skip
    evidence = pydicom.dcmread(reports[0]).CurrentRequestedProcedureEvidenceSequence[0]
    referenced = evidence.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    assert referenced in stored


def test_a_study_from_the_pacs_goes_back_with_its_report(orthanc: Orthanc, tmp_path: Path) -> None:
    """WADO, caption, STOW: what an integrator does; with a name that is not ASCII."""

    def rename(dataset: pydicom.Dataset) -> None:
        dataset.SpecificCharacterSet, dataset.PatientName = "ISO_IR 192", "Łukasz^Zoë=山田^太郎"
        dataset.PatientID = "utf-8"
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            setattr(dataset, keyword, f"{dataset[keyword].value}.8")

    source = altered(PYDICOM_FILES / "CT_small.dcm", tmp_path / "in.dcm", rename)
    orthanc.store([source])
    study = value(orthanc.find_studies(PatientID="utf-8")[0], "0020000D")
    series = value(orthanc.find_series(study)[0], "0020000E")
    instance = value(orthanc.find_instances(study, series)[0], "00080018")
    fetched = tmp_path / "fetched.dcm"
    fetched.write_bytes(orthanc.retrieve(study, series, instance))
    report = write_sr(fetched, record_of(fetched), tmp_path / "report.dcm")
    orthanc.store([report])
    names = {value(s, "00100010")["Alphabetic"] for s in orthanc.find_studies(PatientID="utf-8")}
    assert names == {"Łukasz^Zoë"}
    back = pydicom.dcmread(report)
    stored = orthanc.retrieve(study, back.SeriesInstanceUID, back.SOPInstanceUID)
    (tmp_path / "back.dcm").write_bytes(stored)
    document = pydicom.dcmread(tmp_path / "back.dcm")
    assert str(document.PatientName) == "Łukasz^Zoë=山田^太郎"
    assert document.ContentSequence[-1].ContentSequence[0].TextValue == CAPTION
