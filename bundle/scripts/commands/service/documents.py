"""A caption that a person looked at, as the documents that other systems take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from scripts.commands.replies import CaptionReply
from scripts.commands.service.refusals import RefusedError
from scripts.data.record_lines import json_text
from scripts.outputs.captioned_case import CaptionedCase
from scripts.outputs.case_files import clean


@dataclass(frozen=True)
class Kind:
    """A kind of document: what it is called, the ending and type of its file, and what writes it."""

    title: str
    ending: str
    media_type: str
    write: Callable[[CaptionedCase, bool, Path], Any]


def document(
    case: CaptionedCase, reply: CaptionReply, kind: str, folder: Path, *, text: str, confirmed: bool = False
) -> tuple[Path, str]:
    """Write one document.

    Args:
        case: what was captioned.
        reply: what was said of it, withheld words included.
        kind: of `KINDS`.
        folder: where to.
        text: the caption as the person left it.
        confirmed: the person read a withheld caption and stands by it.

    Returns:
        the file and its media type.

    Raises:
        RefusedError: an unknown kind, no text, or a withheld caption that was neither edited nor confirmed.
        InputError: the image has no patient or study that such a document could belong to.
    """
    if kind not in KINDS:
        raise RefusedError(HTTPStatus.NOT_FOUND, f"there is no document {kind!r}: there are {', '.join(KINDS)}")
    text = " ".join(text.split())
    if not text:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the caption is empty: write one first")
    edited = text != " ".join((reply.caption or "").split())
    if (reply.abstained or reply.withheld) and not (edited or confirmed):
        raise RefusedError(HTTPStatus.CONFLICT, "the model is not sure of this caption: edit it, or confirm it")
    told = reply.model_dump(exclude={"explanation", "id"}) if kind == "json" else case.record
    said = {**told, "caption": text}
    name = clean(Path(case.source if isinstance(case.source, str) else case.source[0]).name.removesuffix("::series"))
    path = folder / f"{name or 'image'}{KINDS[kind].ending}"
    KINDS[kind].write(replace(case, record=said), edited, path)
    return path, KINDS[kind].media_type


def _json(case: CaptionedCase, edited: bool, path: Path) -> None:
    record = {**case.record, "edited": edited}
    path.write_text(json_text(record, indent=1) + "\n", encoding="utf-8")


def _sr(case: CaptionedCase, edited: bool, path: Path) -> None:
    from scripts.outputs.dicom.sr import write_sr

    write_sr(case.source, case.record, path, edited=edited, when=datetime.now().astimezone())


def _dicom_pdf(case: CaptionedCase, edited: bool, path: Path) -> None:
    from scripts.outputs.dicom.pdf import write_pdf

    write_pdf(case.source, case.record, path, image=case.image, edited=edited, when=datetime.now().astimezone())


def _pdf(case: CaptionedCase, edited: bool, path: Path) -> None:
    from scripts.outputs.dicom.document import Draft
    from scripts.outputs.dicom.pdf import page_of
    from scripts.outputs.dicom.source import find_source

    study = find_source(case.source, (case.record.get("trace") or {}).get("input"))
    draft = Draft.of(case.record, edited=edited, when=datetime.now().astimezone())
    path.write_bytes(page_of(study, draft, case.record, case.image))


def _fhir(case: CaptionedCase, edited: bool, path: Path) -> None:
    from scripts.outputs.fhir import write_fhir

    write_fhir(case.source, case.record, path, edited=edited, when=datetime.now().astimezone())


KINDS: dict[str, Kind] = {
    "json": Kind("JSON", ".json", "application/json", _json),
    "pdf": Kind("PDF", ".pdf", "application/pdf", _pdf),
    "dicom_sr": Kind("DICOM SR", "_sr.dcm", "application/dicom", _sr),
    "dicom_pdf": Kind("DICOM PDF", "_pdf.dcm", "application/dicom", _dicom_pdf),
    "fhir": Kind("FHIR", "_fhir.json", "application/fhir+json", _fhir),
}
