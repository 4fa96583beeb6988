"""Captions as FHIR R4 ``DiagnosticReport`` resources, one JSON file a case.

The report is ``preliminary``. Patient, study and device are *contained*: they carry the identifiers that the source
image has, by which a FHIR server matches its own resources. The caption stands in ``conclusion`` and in an
``Observation``, which R4 needs to name a device (a report's ``performer`` can only be a person or an organization).
"""

from __future__ import annotations

import html
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from scripts.atomic import write_text_atomically
from scripts.data.record_lines import json_text
from scripts.errors import InputError
from scripts.outputs.captioned_case import CaptionedCase
from scripts.outputs.dicom.document import MANUFACTURER, MODEL, Draft, derived_uid, file_name
from scripts.outputs.dicom.identity import day_of, require_identity, text_of
from scripts.outputs.dicom.source import SourceStudy, find_source
from scripts.outputs.report_writer import ReportWriter
from scripts.reading.dicom.file import quiet_pydicom

_DICOM_UID = "urn:dicom:uid"
_REPORT = {"coding": [{"system": "http://loinc.org", "code": "18748-4", "display": "Diagnostic imaging study"}],
           "text": "Draft image caption"}  # fmt: skip
_CATEGORY = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "RAD",
                         "display": "Radiology"}]}  # fmt: skip
_GENDER = {"M": "male", "F": "female", "O": "other"}
_WRITING = ("ABC", "IDE", "SYL")
"""ISO 21090 name of each group of a DICOM name: alphabetic, ideographic, phonetic."""


def write_fhir(
    source: str | Path | Sequence[str | Path],
    record: Mapping[str, Any],
    path: str | Path | None = None,
    *,
    folder: str | Path | None = None,
    edited: bool = False,
    when: datetime | None = None,
) -> Path:
    """Write the caption of a DICOM image as a FHIR R4 DiagnosticReport of its own patient and study.

    Args:
        source, record, path, folder, edited: see `scripts.outputs.dicom.sr.write_sr`.
        when: time of writing, for ``issued``; left out unless given.

    Raises:
        InputError: see `write_sr`.
    """
    if (path is None) == (folder is None):
        raise InputError("write_fhir takes either path or folder: give one of them")
    study = find_source(source, (record.get("trace") or {}).get("input"))
    draft = Draft.of(record, edited=edited, when=when)
    report = build_report(study, draft)
    target = Path(path) if path is not None else Path(folder) / file_name(study, _uid(study, draft), ".json")  # type: ignore[arg-type]
    return write_text_atomically(target, json_text(report, indent=2) + "\n")


def build_report(source: SourceStudy, draft: Draft) -> dict[str, Any]:
    """The resource as plain JSON values.

    Raises:
        InputError: PatientID or StudyInstanceUID is missing or invalid.
    """
    uid = _uid(source, draft)
    with quiet_pydicom():
        require_identity(source.header, source.name)
        patient, study = _patient(source), _study(source)
        started = day_of(source.header, "StudyDate")
        accession = text_of(source.header, "AccessionNumber")
    identifiers = [{"system": _DICOM_UID, "value": f"urn:oid:{uid}"}]
    if accession:
        kind = {"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}
        identifiers.append({"type": {"coding": [kind]}, "value": accession})
    report = {
        "resourceType": "DiagnosticReport",
        "id": str(uuid.UUID(int=int(str(uid).removeprefix("2.25.")))),
        "language": "en",
        "text": {"status": "generated", "div": _narrative(draft)},
        "contained": [patient, study, _device(draft), _finding(draft, started)],
        "identifier": identifiers,
        "status": "preliminary",
        "category": [_CATEGORY],
        "code": _REPORT,
        "subject": {"reference": "#patient"},
        "effectiveDateTime": started,
        "issued": draft.when.astimezone().isoformat(timespec="seconds") if draft.when else None,
        "result": [{"reference": "#finding"}],
        "imagingStudy": [{"reference": "#study"}],
        "conclusion": draft.text,
    }
    return _without_gaps(report)


class FhirWriter(ReportWriter):
    """Output ``fhir``: one DiagnosticReport a case; ``issued`` is there with ``time="now"`` only."""

    folder = "fhir"

    def write(self, case: CaptionedCase, when: datetime | None) -> Path:
        return write_fhir(case.source, case.record, folder=self.directory, when=when)


def _uid(source: SourceStudy, draft: Draft) -> str:
    return str(derived_uid("instance", "fhir", source.fingerprint(), draft.fingerprint()))


def _patient(source: SourceStudy) -> dict[str, Any]:
    header = source.header
    issuer = text_of(header, "IssuerOfPatientID")
    identifier = {
        "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]},
        "value": text_of(header, "PatientID"),
        "assigner": {"display": issuer} if issuer else None,
    }
    return {
        "resourceType": "Patient",
        "id": "patient",
        "identifier": [identifier],
        "name": _names(text_of(header, "PatientName")),
        "gender": _GENDER.get(text_of(header, "PatientSex"), "unknown"),
        "birthDate": day_of(header, "PatientBirthDate"),
    }


def _names(name: str) -> list[dict[str, Any]]:
    """A DICOM person name (PS3.5 6.2.1) -> a FHIR name for each of its groups."""
    found = []
    for writing, group in zip(_WRITING, name.split("="), strict=False):
        family, given, middle, prefix, suffix, *_ = [*(part.strip() for part in group.split("^")), "", "", "", "", ""]
        entry = {
            "family": family,
            "given": [*given.split(), *middle.split()],
            "prefix": prefix.split(),
            "suffix": suffix.split(),
        }
        if any(entry.values()):
            url = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"
            extension = [{"url": url, "valueCode": writing}] if "=" in name else None
            found.append({"extension": extension, **entry})
    return found


def _study(source: SourceStudy) -> dict[str, Any]:
    """The ImagingStudy with the described images only."""
    by_series: dict[str, list[dict[str, Any]]] = {}
    for image in source.images:
        frames = f"frame {', '.join(map(str, image.frames))}" if image.frames else None
        kind = {"system": "urn:ietf:rfc:3986", "code": f"urn:oid:{image.sop_class}"}
        by_series.setdefault(image.series, []).append({"uid": image.sop_instance, "sopClass": kind, "title": frames})
    modality = {"system": "http://dicom.nema.org/resources/ontology/DCM",
                "code": text_of(source.header, "Modality") or "OT"}  # fmt: skip
    return {
        "resourceType": "ImagingStudy",
        "id": "study",
        "identifier": [{"system": _DICOM_UID, "value": f"urn:oid:{source.study}"}],
        "status": "available",
        "subject": {"reference": "#patient"},
        "started": day_of(source.header, "StudyDate"),
        "series": [{"uid": uid, "modality": modality, "instance": instances} for uid, instances in by_series.items()],
    }


def _device(draft: Draft) -> dict[str, Any]:
    return {
        "resourceType": "Device",
        "id": "device",
        "manufacturer": MANUFACTURER,
        "serialNumber": draft.weights,
        "deviceName": [{"name": MODEL, "type": "model-name"}],
        "version": [{"value": draft.version}],
        "note": [{"text": "For research, not for clinical use."}],
    }


def _finding(draft: Draft, started: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": "finding",
        "status": "preliminary",
        "code": {"coding": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "121071",
                             "display": "Finding"}]},
        "subject": {"reference": "#patient"},
        "effectiveDateTime": started,
        "valueString": draft.text,
        "device": {"reference": "#device"},
        "derivedFrom": [{"reference": "#study"}],
        "component": _doubts(draft),
        "note": [{"text": draft.disclaimer + draft.doubt_text}],
    }  # fmt: skip


def _doubts(draft: Draft) -> list[dict[str, Any]]:
    """Both calibrated doubts as numbers, as far as there are any."""
    if draft.doubts is None:
        return []
    known = {"plane, kind and organ are right": draft.doubts.kind, "the finding is right": draft.doubts.finding}
    unit = {"unit": "1", "system": "http://unitsofmeasure.org", "code": "1"}
    return [
        {"code": {"text": f"Probability that {name}"}, "valueQuantity": {"value": round(value, 6), **unit}}
        for name, value in known.items()
        if value is not None
    ]


def _narrative(draft: Draft) -> str:
    text, disclaimer = html.escape(draft.text), html.escape(draft.disclaimer)
    return f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{text}</p><p><b>{disclaimer}</b></p></div>'


def _without_gaps(value: Any) -> Any:
    """FHIR's JSON has no nulls and no empty values: they are left out."""
    if isinstance(value, dict):
        kept = {key: _without_gaps(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in (None, "", [], {})}
    if isinstance(value, list):
        return [item for item in map(_without_gaps, value) if item not in (None, "", [], {})]
    return value
