"""Sizes that a compressed frame states in its own header, checked before a native decoder allocates memory for them."""

from __future__ import annotations

import struct
from typing import Any

import pydicom
from pydicom.encaps import get_frame

from scripts.errors import InputError
from scripts.reading.dicom.attributes import safe, whole

_SCAN = 65_536
_JPEG_SOF = frozenset((0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7))


def check_codestream(dataset: pydicom.Dataset, index: int, name: str) -> None:
    """Refuse an encapsulated frame whose codestream is of another size than the header's rows x columns.

    Raises:
        InputError: the two disagree, or there is no such frame.
    """
    uid = safe(dataset.file_meta, "TransferSyntaxUID")
    if uid is None or uid.is_private or not uid.is_transfer_syntax or not uid.is_compressed:
        return
    data: Any = safe(dataset, "PixelData")
    if not isinstance(data, bytes):
        return
    rows, columns = whole(dataset, "Rows"), whole(dataset, "Columns")
    try:
        frame = get_frame(data, index, number_of_frames=max(1, whole(dataset, "NumberOfFrames", 1)))
    except Exception:  # damaged fragments raise many kinds
        raise InputError(f"{name}: frame {index} of its compressed pixel data is missing or damaged") from None
    stated = codestream_size(frame)
    if stated is not None and stated != (rows, columns):
        raise InputError(
            f"{name}: its header says {columns} x {rows} pixels but its compressed image {stated[1]} x {stated[0]}"
        )


def codestream_size(data: bytes) -> tuple[int, int] | None:
    """(rows, columns) that a JPEG, JPEG-LS or JPEG 2000 codestream states; None where none is found."""
    start = data.find(b"\xff\x4f\xff\x51", 0, _SCAN)
    if start >= 0 and len(data) >= start + 22:
        x1, y1, x0, y0 = struct.unpack(">IIII", data[start + 8 : start + 24])
        return y1 - y0, x1 - x0
    start = data.find(b"\xff\xd8\xff", 0, _SCAN)
    return None if start < 0 else _jpeg_size(data, start + 2)


def _jpeg_size(data: bytes, at: int) -> tuple[int, int] | None:
    """Walk the marker segments of a JPEG up to its frame header."""
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _JPEG_SOF:
            rows, columns = struct.unpack(">HH", data[at + 5 : at + 9])
            return rows, columns
        at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    return None
