"""Common part of every DICOM report: subject, author, storage.

Identifiers are derived from the source images, the caption and the weights, so the same run writes identical files and
a PACS that is sent one twice keeps one. For that reason a report carries no clock time unless the caller gives one: its
content date is then the one of the image it describes, and 1900-01-01, DICOM's usual dummy, where the image has none.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from scripts.atomic import write_atomically
from scripts.confidence.doubts import Doubts, doubts_of
from scripts.errors import InputError
from scripts.outputs.dicom.identity import copy_identity, text_of
from scripts.outputs.dicom.source import SourceStudy
from scripts.reading.dicom.file import quiet_pydicom

MANUFACTURER = "MSMedCap bundle"
MODEL = "MSMedCap medical image captioning"
SERIES_DESCRIPTION = "Draft caption - not for clinical use"
DISCLAIMER = "Draft written by a machine for research, not reviewed by a person. Not for clinical use."
EDITED = "Draft written by a machine for research and edited by a person, not verified. Not for clinical use."
_NAMESPACE = uuid.UUID("5a3b1f54-6c0e-5d0b-9a62-0c4a1b7e93d1")
_IMPLEMENTATION = UID("2.25.109481237014120927741105846523318207361")
_NO_DATE = ("19000101", "000000")
_DATES = (("ContentDate", "ContentTime"), ("AcquisitionDate", "AcquisitionTime"), ("SeriesDate", "SeriesTime"),
          ("StudyDate", "StudyTime"))  # fmt: skip


@dataclass(frozen=True)
class Draft:
    """What is reported.

    Attributes:
        text: the caption.
        doubts: how far it may be believed; None for a caption that a person edited.
        version: of the model.
        weights: one SHA-256 over the names and hashes of all weights.
        edited: a person changed the text.
        when: time of writing, for the content date; None takes the image's own, see the module's text.
    """

    text: str
    doubts: Doubts | None
    version: str
    weights: str
    edited: bool = False
    when: datetime | None = None

    @classmethod
    def of(cls, record: Mapping[str, Any], *, edited: bool = False, when: datetime | None = None) -> Draft:
        """From a line of ``captions.jsonl``.

        Raises:
            InputError: there is no caption in it.
        """
        text = " ".join(_writable(str(record.get("caption") or "")).split())
        if not any(character.isprintable() for character in text.replace(" ", "")):
            withheld = f"it is withheld: {record['withheld']}" if record.get("withheld") else "it is empty"
            raise InputError(f"{record.get('image')}: has no caption to report: {record.get('error') or withheld}")
        names = json.dumps(record.get("weights") or {}, sort_keys=True)
        weights = hashlib.sha256(names.encode()).hexdigest()
        doubts = None if edited else doubts_of(record)
        return cls(text, doubts, str(record.get("model_version") or "unknown"), weights, edited, when)

    @property
    def state(self) -> str:
        """For CompletionFlagDescription, at most 64 characters."""
        return "Draft by a machine, edited by a person" if self.edited else "Draft by a machine, not reviewed"

    @property
    def disclaimer(self) -> str:
        return EDITED if self.edited else DISCLAIMER

    @property
    def doubt_text(self) -> str:
        """A sentence on its doubts, with a space before it; "" where a person is answerable for the text."""
        return "" if self.doubts is None else f" Calibrated chance to be right: {self.doubts.text}."

    def fingerprint(self) -> str:
        """What, beside the images, makes one report differ from another."""
        when = self.when.isoformat() if self.when else ""
        return json.dumps([self.text, self.doubt_text, self.version, self.weights, self.edited, when])


def derived_uid(*parts: str) -> UID:
    """A UID below 2.25 (PS3.5 B.2, a name-based UUID in decimal), equal for equal parts."""
    return UID(f"2.25.{uuid.uuid5(_NAMESPACE, chr(31).join(parts)).int}")


def new_document(source: SourceStudy, draft: Draft, *, kind: str, sop_class: UID, series_number: int) -> Dataset:
    """A data set with all modules that do not depend on the kind of document.

    Args:
        source: whose patient and study it belongs to.
        draft: what it reports.
        kind: enters the UIDs, such as ``"basic_sr"``.
        sop_class: of the document.
        series_number: each kind has its own series.

    Raises:
        InputError: patient or study cannot be copied.
    """
    document = Dataset()
    document.SpecificCharacterSet = "ISO_IR 192"
    document.SOPClassUID = sop_class
    document.SOPInstanceUID = derived_uid("instance", kind, source.fingerprint(), draft.fingerprint())
    with quiet_pydicom():
        copy_identity(source.header, document, source.name)
    document.SeriesInstanceUID = derived_uid("series", kind, source.fingerprint(), draft.fingerprint())
    document.SeriesNumber = series_number
    document.InstanceNumber = 1
    document.SeriesDescription = SERIES_DESCRIPTION
    document.Manufacturer = MANUFACTURER
    document.ManufacturerModelName = MODEL
    document.DeviceSerialNumber = draft.weights
    document.SoftwareVersions = _short(draft.version)
    document.ContentDate, document.ContentTime = _content_time(source, draft)
    document.SeriesDate, document.SeriesTime = document.ContentDate, document.ContentTime
    return document


def save(document: Dataset, path: str | Path) -> Path:
    """Write a DICOM file in Explicit VR Little Endian; equal data sets give equal bytes.

    Raises:
        OSError: writing failed; a file that was at ``path`` is as before.
    """
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = document.SOPClassUID
    meta.MediaStorageSOPInstanceUID = document.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = _IMPLEMENTATION
    meta.ImplementationVersionName = "MSMEDCAP"
    document.file_meta = meta
    with quiet_pydicom():
        return write_atomically(path, lambda file: pydicom.dcmwrite(file, document, enforce_file_format=True) and None)


def file_name(source: SourceStudy, uid: UID, ending: str) -> str:
    """``<name of the source>-<8 digits of the UID><ending>``: tells files apart and is the same in every run."""
    stem = Path(source.name).name.removesuffix(".gz")
    stem = Path(stem).stem if Path(source.name).suffix else stem
    clean = re.sub(r"[^\w.-]+", "_", stem).strip("._") or "image"
    return f"{clean[:80]}-{str(uid)[-8:]}{ending}"


def _content_time(source: SourceStudy, draft: Draft) -> tuple[str, str]:
    with quiet_pydicom():
        if draft.when is not None:
            when = draft.when
            offset = re.fullmatch(r"([+-])(\d\d)(\d\d)", text_of(source.header, "TimezoneOffsetFromUTC"))
            if offset:  # it is copied, and then speaks for every time of day in the document
                minutes = (60 * int(offset[2]) + int(offset[3])) * (-1 if offset[1] == "-" else 1)
                when = when.astimezone(timezone(timedelta(minutes=minutes)))
            return when.strftime("%Y%m%d"), when.strftime("%H%M%S")
        for date, time in _DATES:
            day = text_of(source.header, date)
            if day:
                return day, text_of(source.header, time) or "000000"
    return _NO_DATE


def _writable(text: str) -> str:
    """A space for each character that DICOM text or XML cannot hold: controls, halves of surrogate pairs, U+FFFE/F."""
    return "".join(" " if unicodedata.category(c) in ("Cc", "Cs") or c in "\ufffe\uffff" else c for c in text)


def _short(text: str) -> str:
    """A value of VR LO: at most 64 characters and no backslash."""
    return text.replace("\\", "/")[:64]
