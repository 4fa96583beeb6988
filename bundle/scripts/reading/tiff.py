"""TIFF pages (TIFF 6.0, BigTIFF) of the kinds that Pillow refuses, narrows to 8 bits, or turns wrongly.

Read here: grey and RGB, with alpha or other samples, of 8 to 64 bits, unsigned, signed or float, in either byte order,
in strips or tiles, in one plane or several; uncompressed, deflate, LZW or PackBits, with either predictor. All else
(palettes, 1 to 4 bits, JPEG, fax, CMYK, YCbCr) is Pillow's, which gets the file with every orientation set to 1: of
uncompressed pages it exchanges width and height before it unpacks them.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from io import BytesIO
from typing import BinaryIO

import numpy as np

from scripts.errors import InputError
from scripts.reading.case import MAX_BYTES
from scripts.reading.lzw import unpack_bits, unpack_lzw

_MAX_PAGES = 10_000
_FORMATS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_KINDS = {1: "u", 2: "i", 3: "f", 4: "u"}
_NONE, _LZW, _DEFLATE, _PACKBITS = (1,), (5,), (8, 32946), (32773,)
_OURS = (*_NONE, *_LZW, *_DEFLATE, *_PACKBITS)
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_STRIPS, _ORIENTATION, _SAMPLES, _ROWS, _STRIP_SIZES, _PLANAR = 273, 274, 277, 278, 279, 284
_PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_SIZES, _EXTRA, _FORMAT = 317, 322, 323, 324, 325, 338, 339


@dataclass
class TiffPage:
    """The tags of a page, and where the value of its orientation lies in the file (None where it has none)."""

    order: str
    tags: dict[int, list[int]] = field(default_factory=dict)
    orientation_at: int | None = None

    def one(self, tag: int, default: int = 0) -> int:
        """The first value of a tag."""
        return (self.tags.get(tag) or [default])[0]

    @property
    def orientation(self) -> int:
        return self.one(_ORIENTATION, 1) if 1 <= self.one(_ORIENTATION, 1) <= 8 else 1

    @property
    def is_minimum_white(self) -> bool:
        return self.one(_PHOTOMETRIC) == 0

    @property
    def is_vaguely_subsampled(self) -> bool:
        """YCbCr outside of JPEG that does not say its subsampling, for which TIFF 6.0 assumes 2 by 2."""
        return self.one(_PHOTOMETRIC) == 6 and self.one(_COMPRESSION, 1) not in (6, 7) and 530 not in self.tags

    @property
    def alpha(self) -> int:
        """0 without alpha, 1 where colours have been multiplied by it, 2 where not (TIFF 6.0, ExtraSamples)."""
        colours = 3 if self.one(_PHOTOMETRIC) == 2 else 1
        extra = self.one(_EXTRA)
        return extra if self.one(_SAMPLES, 1) == colours + 1 and extra in (1, 2) else 0

    @property
    def is_ours(self) -> bool:
        """Whether this module reads it rather than Pillow, which is faster at the plain kinds that it compresses."""
        bits = set(self.tags.get(_BITS) or [1])
        formats = set(self.tags.get(_FORMAT) or [1])
        colours = 3 if self.one(_PHOTOMETRIC) == 2 else 1
        known = (
            len(bits) == 1 and bits <= {8, 16, 32, 64} and len(formats) == 1 and formats <= set(_KINDS)
            and self.one(_PHOTOMETRIC, 1) in (0, 1, 2) and self.one(_COMPRESSION, 1) in _OURS
            and self.one(_FILL_ORDER, 1) == 1 and self.one(_PREDICTOR, 1) in (1, 2, 3)
            and self.one(_SAMPLES, 1) >= colours
            and not (formats == {3} and bits == {8})
        )  # fmt: skip
        plain = bits == {8} and formats == {1} and self.one(_PLANAR, 1) == 1 and self.one(_SAMPLES, 1) == colours
        return known and not (plain and self.one(_COMPRESSION, 1) in _LZW)

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns) as stored."""
        return self.one(_HEIGHT), self.one(_WIDTH)

    def excess(self, path: str) -> int:
        """Bytes that a page holds beyond what its size needs, uncompressed or deflated; 0 where that cannot be told."""
        samples, bits = self.one(_SAMPLES, 1), self.one(_BITS, 1)
        sizes, compression = self.tags.get(_STRIP_SIZES), self.one(_COMPRESSION, 1)
        if compression not in (*_NONE, *_DEFLATE) or not sizes or self.one(_PHOTOMETRIC, 1) == 6:
            return 0
        height, width = self.size
        planes, together = (samples, 1) if self.one(_PLANAR, 1) == 2 else (1, samples)
        needed = planes * height * ((width * together * bits + 7) // 8)
        if needed > MAX_BYTES:
            return 0
        there = sum(sizes) if compression in _NONE else self._inflated(path, needed + 2)
        return max(0, there - needed)

    def _inflated(self, path: str, most: int) -> int:
        """Bytes that all strips hold, counted up to ``most``."""
        total = 0
        with open(path, "rb") as stream:
            for offset, size in zip(self.tags.get(_STRIPS, []), self.tags.get(_STRIP_SIZES, []), strict=False):
                stream.seek(offset)
                try:
                    total += len(zlib.decompressobj().decompress(stream.read(size), max(1, most - total)))
                except zlib.error:
                    return 0
                if total >= most:
                    break
        return total

    def read(self, path: str) -> np.ndarray:
        """The samples ``[H, W, C]`` as stored: neither turned nor inverted.

        Raises:
            InputError: the page is damaged or cut short.
        """
        try:
            with open(path, "rb") as stream:
                return self._samples(path, stream)
        except InputError:
            raise
        except (struct.error, zlib.error, ValueError, IndexError, OSError, EOFError):
            raise InputError(f"{path}: the TIFF data is truncated or damaged; export it again") from None

    def _samples(self, path: str, stream: BinaryIO) -> np.ndarray:
        height, width = self.size
        samples, bits = self.one(_SAMPLES, 1), self.one(_BITS, 8)
        kind = np.dtype(f"{self.order}{_KINDS[self.one(_FORMAT, 1)]}{bits // 8}")
        if height * width * samples * kind.itemsize > MAX_BYTES:
            raise InputError(f"{path}: takes over {MAX_BYTES >> 20} MiB; reduce the image first")
        tiled = _TILES in self.tags
        offsets = self.tags[_TILES if tiled else _STRIPS]
        sizes = self.tags.get(_TILE_SIZES if tiled else _STRIP_SIZES) or []
        tall = self.one(_TILE_HEIGHT) if tiled else min(height, self.one(_ROWS, height) or height)
        wide = self.one(_TILE_WIDTH) if tiled else width
        planes, together = (samples, 1) if self.one(_PLANAR, 1) == 2 and samples > 1 else (1, samples)
        if tall < 1 or wide < 1 or tall * wide * together * kind.itemsize > MAX_BYTES:
            raise ValueError
        down, across = -(-height // tall), -(-width // wide)
        if len(offsets) < planes * down * across:
            raise ValueError
        picture = np.empty((height, width, samples), kind.newbyteorder("="))
        for number in range(planes * down * across):
            plane, place = divmod(number, down * across)
            top, left = place // across * tall, place % across * wide
            rows = tall if tiled else min(tall, height - top)
            needed = rows * wide * together * kind.itemsize
            stream.seek(offsets[number])
            packed = stream.read(sizes[number] if number < len(sizes) else needed)
            block = self._block(packed, needed, kind, (rows, wide, together))
            part = block[: height - top, : width - left]
            channel = np.s_[plane : plane + 1] if planes > 1 else np.s_[:]
            picture[top : top + part.shape[0], left : left + part.shape[1], channel] = part
        return picture

    def _block(self, packed: bytes, needed: int, kind: np.dtype, shape: tuple[int, int, int]) -> np.ndarray:
        """A strip or tile ``[rows, columns, samples]``."""
        compression = self.one(_COMPRESSION, 1)
        if compression in _DEFLATE:
            unpacker = zlib.decompressobj()
            data = unpacker.decompress(packed, needed + 1)
            if not unpacker.eof:  # reads on to the checksum
                unpacker.decompress(unpacker.unconsumed_tail, 1)
        elif compression in _LZW:
            data = unpack_lzw(packed, needed)
        elif compression in _PACKBITS:
            data = unpack_bits(packed, needed)
        else:
            data = packed
        if len(data) < needed:
            raise EOFError
        if len(data) > needed and compression in _DEFLATE:
            raise ValueError("holds more than its size")
        predictor = self.one(_PREDICTOR, 1)
        if predictor == 3 and kind.kind == "f":
            return _float_differences(data[:needed], kind, shape)
        block = np.frombuffer(data[:needed], kind).reshape(shape).astype(kind.newbyteorder("="))
        if predictor == 2:
            whole = block.view(f"u{kind.itemsize}")
            np.add.accumulate(whole, axis=1, out=whole)
        return block


def _float_differences(data: bytes, kind: np.dtype, shape: tuple[int, int, int]) -> np.ndarray:
    """Predictor 3 (TIFF Technical Note 3): bytes of a row sorted by significance, highest first, then differenced."""
    rows, columns, samples = shape
    lines = np.frombuffer(data, np.uint8).reshape(rows, -1, samples)
    lines = np.add.accumulate(lines, axis=1, dtype=np.uint8).reshape(rows, kind.itemsize, columns * samples)
    ordered = np.ascontiguousarray(lines.transpose(0, 2, 1))
    return ordered.view(f">f{kind.itemsize}").reshape(shape).astype(kind.newbyteorder("="))


def tiff_pages(path: str) -> list[TiffPage]:
    """The pages of a TIFF file; empty where it is none or its directory cannot be followed."""
    with open(path, "rb") as stream:
        head = stream.read(16)
        order = {b"II": "<", b"MM": ">"}.get(head[:2])
        if order is None or len(head) < 8:
            return []
        version = struct.unpack(f"{order}H", head[2:4])[0]
        if version not in (42, 43) or (version == 43 and len(head) < 16):
            return []
        at = struct.unpack(f"{order}I", head[4:8])[0] if version == 42 else struct.unpack(f"{order}Q", head[8:16])[0]
        pages: list[TiffPage] = []
        seen: set[int] = set()
        try:
            while at and at not in seen and len(pages) < _MAX_PAGES:
                seen.add(at)
                page, at = _page(stream, at, order, version == 43)
                pages.append(page)
        except (struct.error, OSError, OverflowError, MemoryError):
            pass
    return pages


def _page(stream: BinaryIO, at: int, order: str, big: bool) -> tuple[TiffPage, int]:
    """A directory, and where the next one is (0: nowhere)."""
    count_format, entry_size, offset_format = ("Q", 20, "Q") if big else ("H", 12, "I")
    stream.seek(at)
    count = _unpack(stream, order, count_format)
    entries_at = stream.tell()
    if count > 4096:
        raise struct.error
    page = TiffPage(order)
    entries = stream.read(count * entry_size)
    following = _unpack(stream, order, offset_format)
    for number in range(count):
        entry = entries[number * entry_size : (number + 1) * entry_size]
        tag, kind = struct.unpack(f"{order}HH", entry[:4])
        if kind not in _FORMATS:
            continue
        amount = struct.unpack(f"{order}{offset_format}", entry[4 : 12 if big else 8])[0]
        size = struct.calcsize(f"{order}{_FORMATS[kind]}") * amount
        if size > 2**26:
            raise struct.error
        value = entry[12:] if big else entry[8:]
        if tag == _ORIENTATION and kind == 3:
            page.orientation_at = entries_at + number * entry_size + (12 if big else 8)
        if size > len(value):
            stream.seek(struct.unpack(f"{order}{offset_format}", value)[0])
            value = stream.read(size)
        page.tags[tag] = list(struct.unpack(f"{order}{amount}{_FORMATS[kind]}", value[:size]))
    return page, following


def _unpack(stream: BinaryIO, order: str, form: str) -> int:
    return struct.unpack(f"{order}{form}", stream.read(struct.calcsize(f"{order}{form}")))[0]


def upright_copy(path: str, pages: list[TiffPage]) -> BytesIO:
    """The file with every orientation set to 1."""
    with open(path, "rb") as stream:
        data = bytearray(stream.read())
    for page in pages:
        if page.orientation_at is not None:
            data[page.orientation_at : page.orientation_at + 2] = struct.pack(f"{page.order}H", 1)
    return BytesIO(bytes(data))


def oriented(picture: np.ndarray, orientation: int) -> np.ndarray:
    """``[C, H, W]`` turned as the Orientation tag asks (TIFF 6.0, page 36): where the first row and column belong."""
    if orientation >= 5:
        picture = picture.transpose(0, 2, 1)
    flip_rows = orientation in (3, 4, 7, 8)
    flip_columns = orientation in (2, 3, 6, 7)
    return picture[:, :: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
