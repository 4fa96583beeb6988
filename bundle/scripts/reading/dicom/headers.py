"""Headers of many files, read once: whoever lists a folder, reads a series of it or reports on it asks here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache

from scripts.errors import InputError
from scripts.reading.dicom.attributes import whole, word
from scripts.reading.dicom.file import DicomFile, read_dataset
from scripts.reading.dicom.kinds import holds_no_image
from scripts.reading.dicom.stack import FrameRef, usable_frames

_KEPT = 20_000
"""Headers remembered (about 1 KB each): those of the largest folder that is read as one case."""


@dataclass(frozen=True)
class Header:
    """What sorting files needs of one; ``frames`` is None where there are several, which are not remembered.

    ``series`` groups files: the SeriesInstanceUID of a file of one frame and of a part of a concatenation, else "".
    """

    is_image: bool
    frames: tuple[FrameRef, ...] | None
    series: str = ""


def header_of(path: str) -> Header:
    """The header of a file on disk; call it inside `quiet_pydicom`.

    Raises:
        InputError: not DICOM, or damaged beyond parsing.
    """
    try:
        status = os.stat(path)
    except OSError:
        raise InputError(f"{path}: there is no such file, or it may not be read") from None
    return _header(path, status.st_mtime_ns, status.st_size)


def frames_at(file: DicomFile) -> list[FrameRef]:
    """`usable_frames` of a file by its header; call it inside `quiet_pydicom`.

    Raises:
        InputError: not DICOM, or damaged beyond parsing.
    """
    frames = header_of(file.path).frames if file.member is None else None
    return usable_frames(file, read_dataset(file, header_only=True)) if frames is None else list(frames)


@lru_cache(maxsize=_KEPT)
def _header(path: str, modified: int, size: int) -> Header:
    """``modified`` and ``size`` tell states of a file apart."""
    file = DicomFile(path)
    header = read_dataset(file, header_only=True)
    several = whole(header, "NumberOfFrames", 1) > 1
    frames = None if several else tuple(usable_frames(file, header))
    grouped = bool(frames) or (several and word(header, "ConcatenationUID") != "")
    return Header(not holds_no_image(header), frames, word(header, "SeriesInstanceUID") if grouped else "")
