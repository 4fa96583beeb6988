"""Captions as DICOM structured reports: Basic Text SR, the kind that viewers show most widely, and Enhanced SR.

PS3.3 A.35.1 and A.35.2. Every report is PARTIAL, PRELIMINARY and UNVERIFIED, names the device that observed, points to
the images and frames that were captioned, and says "not for clinical use" in its series' description and in its text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import BasicTextSRStorage, EnhancedSRStorage

from scripts.errors import InputError
from scripts.outputs.captioned_case import CaptionedCase
from scripts.outputs.dicom.document import Draft, file_name, new_document, save
from scripts.outputs.dicom.source import SourceStudy, find_source
from scripts.outputs.dicom.sr_content import CODING_SCHEME, evidence_of, report_tree
from scripts.outputs.report_writer import ReportWriter

KINDS = {"basic": (BasicTextSRStorage, 9101), "enhanced": (EnhancedSRStorage, 9102)}
"""Kind -> SOP class, series number."""


def write_sr(
    source: str | Path | Sequence[str | Path],
    record: Mapping[str, Any],
    path: str | Path | None = None,
    *,
    folder: str | Path | None = None,
    kind: str = "basic",
    edited: bool = False,
    when: datetime | None = None,
) -> Path:
    """Write the caption of a DICOM image as a structured report of its own patient and study.

    Args:
        source: the DICOM file, folder or zip that was captioned, or several of them.
        record: the line of ``captions.jsonl`` (``Caption.record``). A dictionary with just ``caption`` will do: the
            report then refers to every image of ``source``.
        path: file to write.
        folder: instead of ``path``: where to write under a name made from the source's.
        kind: ``"basic"`` or ``"enhanced"``.
        edited: a person changed the caption; the report says so and carries no confidence.
        when: time of writing; without it equal input gives equal files (`scripts.outputs.dicom.document`).

    Returns:
        the file.

    Raises:
        InputError: there is no caption, or patient, study or images are missing or ambiguous.
    """
    if (path is None) == (folder is None):
        raise InputError("write_sr takes either path or folder: give one of them")
    study = find_source(source, (record.get("trace") or {}).get("input"))
    document = build_sr(study, Draft.of(record, edited=edited, when=when), kind=kind)
    target = Path(path) if path is not None else Path(folder) / file_name(study, document.SOPInstanceUID, ".dcm")  # type: ignore[arg-type]
    return save(document, target)


def build_sr(source: SourceStudy, draft: Draft, *, kind: str = "basic") -> Dataset:
    """The report as a data set.

    Raises:
        InputError: ``kind`` is unknown, or patient and study cannot be copied.
    """
    if kind not in KINDS:
        raise InputError(f"a report is of kind {' or '.join(map(repr, KINDS))}, not {kind!r}")
    sop_class, number = KINDS[kind]
    document = new_document(source, draft, kind=f"{kind}_sr", sop_class=sop_class, series_number=number)
    document.Modality = "SR"
    document.ReferencedPerformedProcedureStepSequence = []
    document.PerformedProcedureCodeSequence = []
    document.CompletionFlag = "PARTIAL"
    document.CompletionFlagDescription = draft.state
    document.VerificationFlag = "UNVERIFIED"
    document.PreliminaryFlag = "PRELIMINARY"
    document.CurrentRequestedProcedureEvidenceSequence = evidence_of(source)
    document.update(report_tree(source, draft, numbers=kind == "enhanced"))
    if kind == "enhanced":
        document.CodingSchemeIdentificationSequence = [_own_codes()]
    return document


class DicomSrWriter(ReportWriter):
    """Output ``dicom_sr``: one Basic Text SR a case."""

    kind = "basic"
    folder = "dicom_sr"

    def write(self, case: CaptionedCase, when: datetime | None) -> Path:
        return write_sr(case.source, case.record, folder=self.directory, kind=self.kind, when=when)


def _own_codes() -> Dataset:
    """Who defines the private coding scheme, PS3.3 C.12.1.1.7."""
    item = Dataset()
    item.CodingSchemeDesignator = CODING_SCHEME
    item.CodingSchemeName = "Concepts of the MSMedCap bundle"
    item.CodingSchemeVersion = "1"
    item.CodingSchemeResponsibleOrganization = "MSMedCap bundle"
    return item
