"""Source of a report: patient, study and images of a caption, read from the source files, or refused.

A report filed under the wrong patient is worse than none, so nothing is guessed here: all DICOM files of a case must
name one patient and one study, and every image that the caption rests on must have its identifiers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from scripts.errors import InputError
from scripts.reading.dicom.file import DicomFile, quiet_pydicom
from scripts.reading.dicom.headers import frames_at
from scripts.reading.dicom.stack import FrameRef, Stack, same_stack, stacks_of, volume_of
from scripts.reading.image_meta import ImageMeta
from scripts.reading.sources import identify

_IDENTITY = ["SpecificCharacterSet", "PatientID", "PatientName", "PatientBirthDate", "IssuerOfPatientID",
             "StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID"]  # fmt: skip
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


@dataclass(frozen=True)
class ImageReference:
    """An image that a caption rests on; ``frames`` counts from 1 and is empty where the object is a single frame."""

    sop_class: str
    sop_instance: str
    series: str
    frames: tuple[int, ...] = ()


@dataclass(frozen=True)
class SourceStudy:
    """``header`` of the first image (no pixels; patient and study are copied from it) and all ``images``, in order."""

    name: str
    header: pydicom.Dataset
    images: tuple[ImageReference, ...]

    @property
    def study(self) -> str:
        """StudyInstanceUID."""
        return str(self.header.StudyInstanceUID)

    def fingerprint(self) -> str:
        """The images as text, equal for equal images; what deterministic UIDs are made from."""
        return ";".join(f"{image.sop_instance}:{','.join(map(str, image.frames))}" for image in self.images)


def find_source(source: str | Path | Sequence[str | Path], meta: Mapping[str, Any] | None = None) -> SourceStudy:
    """The patient, study and images of a captioned case.

    Args:
        source: DICOM file, folder, zip or DICOMDIR, or several of them (views of one case).
        meta: what the reader noted (``record["trace"]["input"]``): which series, slices and frames were captioned. A
            slice across the acquired ones rests on all of them. Without it every image of ``source`` is meant.

    Raises:
        InputError: not DICOM; identifiers are missing; or there is more than one patient or study.
    """
    paths = [str(source)] if isinstance(source, (str, Path)) else [str(path) for path in source]
    metas = list(ImageMeta.of_record(meta).views)
    if len(metas) != len(paths):
        metas = [{}] * len(paths)
    identities: dict[tuple, str] = {}
    used: list[tuple[DicomFile, pydicom.Dataset, int, int]] = []
    header = None
    with quiet_pydicom():
        for path, noted in zip(paths, metas, strict=True):
            with _open(path) as found:
                stacks, headers = _stacks(path, found.files, identities)
                used += [(r.file, headers[r.file], r.index, r.count) for r in _captioned(path, stacks, noted)]
                if header is None:
                    header = _whole_header(used[0][0])
        _one_patient_and_study(paths[0], identities)
        return SourceStudy(paths[0], header, _references(used))  # type: ignore[arg-type]


def _open(path: str) -> Any:
    found = identify(path)
    if found.kind != "dicom":
        raise InputError(
            f"{path}: is not DICOM, so it names no patient and no study to write a report for; "
            "caption the DICOM original, or leave the dicom and fhir outputs out"
        )
    return found


def _stacks(
    path: str, files: list[DicomFile], identities: dict[tuple, str]
) -> tuple[list[Stack], dict[DicomFile, pydicom.Dataset]]:
    """Frames grouped as the reader groups them, and the identifying attributes of each file."""
    frames: list[FrameRef] = []
    headers: dict[DicomFile, pydicom.Dataset] = {}
    for file in files:
        try:
            found = frames_at(file)
            with file.open() as stream:
                headers[file] = pydicom.dcmread(stream, force=True, stop_before_pixels=True, specific_tags=_IDENTITY)
        except InputError:
            if len(files) == 1:
                raise
            continue
        identities.setdefault(_identity(file, headers[file]), file.name)
        frames += found
    if not frames:
        raise InputError(f"{path}: holds no image that a report could be about; give the images themselves")
    return stacks_of(frames), headers


def _identity(file: DicomFile, header: pydicom.Dataset) -> tuple[str, str, str, str]:
    """(patient ID, name, birth date, study), each as text for comparison; refuses a file without ID or study."""
    try:
        patient, study = str(header.get("PatientID") or "").strip(), str(header.get("StudyInstanceUID") or "").strip()
        name, birth = str(header.get("PatientName") or ""), str(header.get("PatientBirthDate") or "")
    except Exception:  # damaged bytes; pydicom raises many kinds, and their texts quote the header
        raise InputError(f"{file.name}: its patient or study cannot be read; export it again") from None
    for value, what in ((patient, "PatientID"), (study, "StudyInstanceUID")):
        if not value:
            raise InputError(
                f"{file.name}: has no {what}, so a report of it could not be filed; give a file that has one"
            )
    if "\ufffd" in name + patient:
        raise InputError(f"{file.name}: its patient's name or ID does not fit its character set; repair the file first")
    return patient, name.rstrip("^= ").casefold(), birth.replace(".", "").strip(), study


def _one_patient_and_study(path: str, identities: Mapping[tuple, str]) -> None:
    """Refuse a case whose files name several patients or studies; the message names files, never people."""
    first = next(iter(identities))
    for other, file in identities.items():
        what = next((w for w, a, b in zip(("patients", "patients", "patients", "studies"), first, other, strict=True)
                     if a != b), None)  # fmt: skip
        if what:
            raise InputError(
                f"{path}: its files name several {what} ({identities[first]} and {file} differ), so it is not clear "
                "whose report to write; give the images of one study"
            )


def _captioned(path: str, stacks: list[Stack], meta: Mapping[str, Any]) -> list[FrameRef]:
    """The frames that the captioned views were made from, found with the reader's own geometry."""
    if not meta.get("series"):
        images = [stack for stack in stacks if stack.is_image] or stacks
        return [frame for stack in images for frame in stack.frames]
    stack = same_stack(path, stacks, meta["series"])
    chosen = meta.get("frame") or [0]
    if not stack.has_positions:
        return [stack.frames[index] for index in chosen]
    used: dict[FrameRef, None] = {}

    def note(frame: FrameRef) -> np.ndarray:
        used[frame] = None
        return np.broadcast_to(np.float32(0), (1, *frame.shape))

    plane = (meta.get("orientation") or {}).get("plane", "axial")
    for index in chosen:
        volume, _ = volume_of(stack.volumes[index], note)
        for position in meta.get("slice") or [volume.count(plane) // 2]:
            volume.slice(plane, position)
    return list(used)


def _references(used: list[tuple[DicomFile, pydicom.Dataset, int, int]]) -> tuple[ImageReference, ...]:
    """One reference a file, with the numbers of its frames where it has several."""
    frames: dict[DicomFile, list[int]] = {}
    headers, counts = {}, {}
    for file, header, index, count in used:
        frames.setdefault(file, []).append(index + 1)
        headers[file], counts[file] = header, count
    found = []
    for file, numbers in frames.items():
        uids = [str(headers[file].get(k) or "") for k in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID")]
        for uid, what in zip(uids, ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID"), strict=True):
            if len(uid) > 64 or not _UID.fullmatch(uid):
                raise InputError(f"{file.name}: has no valid {what}, so a report could not point to it; export again")
        many = counts[file] > 1
        found.append(ImageReference(*uids, frames=tuple(sorted(set(numbers))) if many else ()))
    return tuple(found)


def _whole_header(file: DicomFile) -> pydicom.Dataset:
    with file.open() as stream:
        return pydicom.dcmread(stream, force=True, stop_before_pixels=True)
