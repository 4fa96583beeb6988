"""Codestreams of compressed frames: their own kind, size, precision, components.

JPEG: ITU-T T.81 B.2; JPEG-LS: T.87 C.2; JPEG 2000: T.800 A.5 and A.6; RLE: DICOM PS3.5 annex G.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_SCAN = 65_536
_JPEG_KINDS = {
    0xC0: "JPEG baseline", 0xC1: "JPEG extended", 0xC2: "JPEG progressive", 0xC3: "JPEG lossless", 0xF7: "JPEG-LS",
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF), "JPEG of a rare process"),
}  # fmt: skip
_NO_LENGTH = (0x01, *range(0xD0, 0xD9))


@dataclass(frozen=True)
class Codestream:
    """``signed`` and ``colour_transform`` are what a JPEG 2000 header states; other kinds have no place for them."""

    kind: str
    rows: int = 0
    columns: int = 0
    precision: int = 0
    components: int = 0
    signed: bool | None = None
    colour_transform: bool = False


def codestream_of(data: bytes) -> Codestream | None:
    """What a JPEG, JPEG-LS, JPEG 2000 or RLE frame states; None where ``data`` is none of these."""
    start = data.find(b"\xff\x4f\xff\x51", 0, _SCAN)
    if start >= 0 and len(data) >= start + 45:
        return _jpeg_2000(data, start)
    start = data.find(b"\xff\xd8\xff", 0, _SCAN)
    if start >= 0:
        return _jpeg(data, start + 2)
    return Codestream("RLE") if _is_rle(data) else None


def _jpeg_2000(data: bytes, start: int) -> Codestream:
    x1, y1, x0, y0 = struct.unpack(">IIII", data[start + 8 : start + 24])
    components = struct.unpack(">H", data[start + 40 : start + 42])[0]
    depth = data[start + 42]
    segments = dict(_segments(data, start + 2))
    coding = segments.get(0x52, b"")
    kind = "HTJ2K" if 0x50 in segments else "JPEG 2000"
    transformed = len(coding) > 4 and coding[4] == 1
    return Codestream(kind, y1 - y0, x1 - x0, (depth & 0x7F) + 1, components, bool(depth & 0x80), transformed)


def _jpeg(data: bytes, at: int) -> Codestream | None:
    for marker, body in _segments(data, at):
        if marker in _JPEG_KINDS and len(body) >= 6:
            precision, rows, columns, components = struct.unpack(">BHHB", body[:6])
            return Codestream(_JPEG_KINDS[marker], rows, columns, precision, components)
    return None


def _segments(data: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """(marker, content) of the marker segments in front of the first tile or scan."""
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in (0xDA, 0x90, 0xD9):
            return
        if marker == 0xFF or marker in _NO_LENGTH:
            at += 1 if marker == 0xFF else 2
            continue
        length = struct.unpack(">H", data[at + 2 : at + 4])[0]
        yield marker, data[at + 4 : at + 2 + length]
        at += 2 + max(2, length)


def _is_rle(data: bytes) -> bool:
    """A header of 64 bytes: the number of segments, and where each begins, the first right after it."""
    if len(data) < 64:
        return False
    count, *offsets = struct.unpack("<16I", data[:64])
    used = offsets[:count]
    return 1 <= count <= 15 and used[0] == 64 and used == sorted(used) and not any(offsets[count:])
