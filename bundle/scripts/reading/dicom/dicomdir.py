"""DICOMDIR: the index of a DICOM medium, PS3.3 F."""

from __future__ import annotations

import os

from scripts.errors import InputError
from scripts.reading.dicom.attributes import safe, word
from scripts.reading.dicom.file import DicomFile, quiet_pydicom, read_dataset


def dicomdir_files(path: str) -> list[DicomFile] | None:
    """The image files that a DICOMDIR names and that lie below its folder; None where ``path`` is no DICOMDIR.

    Raises:
        InputError: it names no image, or none of those it names is there.
    """
    if "DICOMDIR" not in os.path.basename(path).upper():
        return None
    with quiet_pydicom():
        index = read_dataset(DicomFile(path))
        records = safe(index, "DirectoryRecordSequence")
        if records is None:
            return None
        named = [_components(safe(r, "ReferencedFileID")) for r in records if word(r, "DirectoryRecordType") == "IMAGE"]
    folder = os.path.dirname(os.path.abspath(path))
    found = [full for parts in named if parts and (full := _inside(folder, parts)) is not None]
    if not named:
        raise InputError(f"{path}: is a DICOMDIR that names no image")
    if not found:
        raise InputError(f"{path}: none of the {len(named)} images that it names is beside it; copy the whole medium")
    return [DicomFile(full) for full in sorted(set(found))]


def _components(value: object) -> list[str]:
    if value is None:
        return []
    parts = value.split("\\") if isinstance(value, str) else [str(part) for part in value]  # type: ignore[attr-defined]
    return [part.strip() for part in parts]


def _inside(folder: str, parts: list[str]) -> str | None:
    """The file below ``folder``, in the case given or in lower case; None when absent or when it leads outside."""
    for names in (parts, [p.lower() for p in parts]):
        full = os.path.normpath(os.path.join(folder, *names))
        if full.startswith(folder + os.sep) and os.path.isfile(full):
            return full
    return None
