"""DICOM series of a folder, told by the headers of its files, and the path of a series that shares its folder.

A case is one string everywhere: in ``captions.jsonl``, as the key of what is done, in the names of files written for
it. A folder that holds one series and no other DICOM image has such a string, its own path. A series beside others is
named by its first file with ``::series`` behind it, as in ``/data/export/IM0001::series``. (Its UID would do too, but
UIDs stay inside the reader, since they lead to a person.)
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache

from scripts.errors import InputError
from scripts.reading.dicom.file import quiet_pydicom, starts_as_dicom
from scripts.reading.dicom.headers import header_of

ENDING = "::series"
DICOM_ENDINGS = (".dcm", ".dicom")


@dataclass(frozen=True)
class DicomLook:
    """What sorting a folder needs of a DICOM file: its SeriesInstanceUID, "" where it is a case or nothing by itself
    (several frames and no part of a concatenation, no UID, damaged), and whether it can hold an image at all."""

    series: str = ""
    is_image: bool = True


def look_at(files: list[str]) -> dict[str, DicomLook]:
    """The DICOM files among ``files``; one that cannot be parsed counts as an image: its reader says why."""
    with quiet_pydicom():
        looks = {file: _looked(file) for file in files}
    return {file: look for file, look in looks.items() if look is not None}


def is_series_path(path: str) -> bool:
    """Whether a path names the series of a file rather than a file."""
    return path.endswith(ENDING) and not os.path.lexists(path)


def file_of(path: str) -> str:
    """The file that a path names a series by; any other path as it is."""
    return path.removesuffix(ENDING) if is_series_path(path) else path


def series_files(path: str) -> list[str]:
    """The files beside the one that ``path`` names which are of its series, in the order of their names.

    Raises:
        InputError: it names no file, or one that is of no series.
    """
    first = file_of(path)
    if not os.path.isfile(first):
        raise InputError(f"{first}: there is no such file; check the path")
    wanted = look_at([first]).get(first, DicomLook()).series
    if not wanted:
        raise InputError(f"{first}: is not one of several files of a DICOM series; give it without {ENDING}")
    return [file for file, look in look_at(plain_files(os.path.dirname(first) or ".")).items() if look.series == wanted]


def plain_files(folder: str) -> list[str]:
    """Paths of the files of a folder, sorted, hidden ones and links to nothing left out."""
    paths = (os.path.join(folder, name) for name in os.listdir(folder) if not name.startswith("."))
    return sorted(path for path in paths if os.path.isfile(path))  # an entry of scandir raises for a loop of links


def _has_preamble(file: str) -> bool:
    with open(file, "rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def _looked(file: str) -> DicomLook | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return _look(file, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=100_000)
def _look(file: str, modified: int, size: int) -> DicomLook | None:
    """Kept, as every series of a folder asks for all its files; ``modified`` and ``size`` tell states of one apart."""
    named = file.lower().endswith(DICOM_ENDINGS)
    if not named and not starts_as_dicom(file):
        return None
    if os.path.basename(file).upper() == "DICOMDIR":
        return DicomLook(is_image=False)  # the images that it names are found by themselves
    try:
        header = header_of(file)
    except InputError:
        return DicomLook() if named or _has_preamble(file) else None  # two bytes alone are no proof
    return DicomLook(header.series, header.is_image)
