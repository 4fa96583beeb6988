"""Captions as a printed page inside DICOM: Encapsulated PDF (PS3.3 A.45.1), which every PACS can show and print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedPDFStorage
from torch import Tensor

from scripts.errors import InputError
from scripts.outputs.captioned_case import CaptionedCase
from scripts.outputs.dicom.document import MODEL, Draft, file_name, new_document, save
from scripts.outputs.dicom.identity import day_of, text_of
from scripts.outputs.dicom.pdf_page import PageContent, draw_page, is_drawable
from scripts.outputs.dicom.source import SourceStudy, find_source
from scripts.outputs.dicom.sr_content import code, reference
from scripts.outputs.report_writer import ReportWriter
from scripts.reading.dicom.file import quiet_pydicom
from scripts.reading.image_meta import ImageMeta

_SERIES_NUMBER = 9103


def write_pdf(
    source: str | Path | Sequence[str | Path],
    record: Mapping[str, Any],
    path: str | Path | None = None,
    *,
    image: Tensor | None = None,
    folder: str | Path | None = None,
    edited: bool = False,
    when: datetime | None = None,
) -> Path:
    """Write the caption of a DICOM image as a page of its own patient and study, inside DICOM.

    Args:
        source, record, path, folder, edited, when: see `scripts.outputs.dicom.sr.write_sr`.
        image: ``[3, S, S]`` or ``[V, 3, S, S]`` in [0, 1], as the network saw it (``CaptionPredictor.load``); the page
            has no picture without it.

    Raises:
        InputError: see `write_sr`.
    """
    if (path is None) == (folder is None):
        raise InputError("write_pdf takes either path or folder: give one of them")
    study = find_source(source, (record.get("trace") or {}).get("input"))
    draft = Draft.of(record, edited=edited, when=when)
    document = _document(study, draft, page_of(study, draft, record, image))
    target = Path(path) if path is not None else Path(folder) / file_name(study, document.SOPInstanceUID, ".dcm")  # type: ignore[arg-type]
    return save(document, target)


def page_of(source: SourceStudy, draft: Draft, record: Mapping[str, Any], image: Tensor | None) -> bytes:
    """The page as a PDF file, for those who want it without DICOM around it."""
    header = source.header
    with quiet_pydicom():
        patient = [
            ("Patient", _printable_name(text_of(header, "PatientName"))),
            ("Study date", day_of(header, "StudyDate")),
            ("Patient ID", _printable(text_of(header, "PatientID"))),
            ("Accession no.", _printable(text_of(header, "AccessionNumber"))),
            ("Born", day_of(header, "PatientBirthDate")),
            ("Sex", text_of(header, "PatientSex")),
            ("Modality", _printable(text_of(header, "Modality"))),
        ]
    first = source.images[0]
    frames = f", frame {', '.join(map(str, first.frames))}" if first.frames else ""
    more = f" and {len(source.images) - 1} more" if len(source.images) > 1 else ""
    origin = [
        ("Image", f"{first.sop_instance}{frames}{more}"),
        ("Window", _printable(_window(record.get("window")))),
        ("Model", f"{MODEL}, version {draft.version}"),
        ("Weights", f"SHA-256 {draft.weights}"),
    ]
    caption = draft.text if is_drawable(draft.text) else "The caption's characters cannot be printed here; see the SR."
    pictures = _pictures(image, (record.get("trace") or {}).get("input") or {})
    return draw_page(PageContent(caption, draft.doubts, draft.disclaimer, pictures, patient, origin))


def _document(source: SourceStudy, draft: Draft, pdf: bytes) -> Dataset:
    document = new_document(source, draft, kind="pdf", sop_class=EncapsulatedPDFStorage, series_number=_SERIES_NUMBER)
    document.Modality = "DOC"
    document.ConversionType = "WSD"
    document.AcquisitionDateTime = ""
    document.BurnedInAnnotation = "YES"
    document.SourceInstanceSequence = [reference(image, frames=False) for image in source.images]
    document.DocumentTitle = "Draft image caption - not for clinical use"
    document.ConceptNameCodeSequence = [code("18748-4", "LN", "Diagnostic imaging study")]
    document.VerificationFlag = "UNVERIFIED"
    document.MIMETypeOfEncapsulatedDocument = "application/pdf"
    document.EncapsulatedDocumentLength = len(pdf)
    document.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    return document


class DicomPdfWriter(ReportWriter):
    """Output ``dicom_pdf``: one Encapsulated PDF a case."""

    folder = "dicom_pdf"

    def write(self, case: CaptionedCase, when: datetime | None) -> Path:
        return write_pdf(case.source, case.record, image=case.image, folder=self.directory, when=when)


def _pictures(image: Tensor | None, meta: Mapping[str, Any]) -> list[np.ndarray]:
    """Views without the black that letterboxing added, ``[H, W, 3]`` each."""
    if image is None:
        return []
    views = image[None] if image.ndim == 3 else image
    boxes: list[Mapping[str, Any]] = []
    known = ImageMeta.of_record(meta)
    for each, count in zip(known.views, known.counts(), strict=True):
        boxes += [each.get("resize") or {}] * count
    boxes += [{}] * (len(views) - len(boxes))
    found = []
    for view, box in zip(views, boxes, strict=False):
        if box.get("size") == view.shape[-1]:
            (top, left), (rows, columns) = box["offset"], box["to"]
            view = view[:, top : top + rows, left : left + columns]
        found.append(view.detach().float().cpu().clamp(0, 1).permute(1, 2, 0).numpy())
    return found


def _printable_name(name: str) -> str:
    """The first form of a DICOM name (romanized, in characters, by sound) that can be printed: "Family, Given"."""
    for group in name.split("="):
        family, *rest = [part.strip() for part in group.split("^")]
        text = ", ".join(filter(None, (family, " ".join(filter(None, rest)))))
        if text and is_drawable(text):
            return text
    return "(see the DICOM header)" if name else ""


def _printable(text: str) -> str:
    return text if is_drawable(text) else "(see the DICOM header)"


def _window(window: Any) -> str:
    """The window in words; a record holds it as text or with its parts."""
    return str(window.get("text") or "") if isinstance(window, Mapping) else str(window or "")
