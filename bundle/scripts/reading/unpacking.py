"""Compressed voxel data, read to its very end: a checksum is only worth something to who looks at it.

gzip (CRC-32 and length, RFC 1952), zlib (Adler-32, RFC 1950) and bzip2 (CRC-32 a block). A stream that ends early,
whose checksum does not fit, or that holds much more than the header says, is refused; also where one slice alone is
wanted, since nobody could tell on which side of a flipped byte it lies.
"""

from __future__ import annotations

import bz2
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Protocol

import numpy as np

from scripts.errors import InputError

_CHUNK = 2**20
_SPARE = 2**26
"""Bytes beyond those that the header claims after which unpacking is given up."""
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32


class _Decompressor(Protocol):
    eof: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes:
        """At most so many bytes of what ``data`` holds."""


def unpacked(
    path: str, stream: BinaryIO, *, kind: str, claimed: int, keep: tuple[int, int] | None = None
) -> tuple[np.ndarray, int]:
    """Bytes of a compressed stream, all of which is read.

    Args:
        path: the file, for messages.
        stream: at the start of the compressed data.
        kind: "gzip" (or zlib, which its first bytes tell) or "bzip2".
        claimed: bytes that there must be at least.
        keep: first and one-past-last byte to keep; all that are claimed unless given.

    Returns:
        The kept bytes, ``[N]`` uint8, and how many bytes there were in all.

    Raises:
        InputError: damaged, cut short, or far longer than claimed.
    """
    start, stop = keep or (0, claimed)
    kept, at = bytearray(), 0
    try:
        for part in _parts(stream, kind):
            if at + len(part) > start and at < stop:
                kept += memoryview(part)[max(0, start - at) : stop - at]
            at += len(part)
            if at > claimed + _SPARE:
                raise InputError(f"{path}: holds far more than its header claims ({claimed:,} bytes); export it again")
    except InputError:
        raise
    except (zlib.error, OSError, ValueError):
        raise InputError(
            f"{path}: its compressed data is damaged (the checksum is wrong); copy or export it again"
        ) from None
    except EOFError:
        raise InputError(f"{path}: its compressed data is cut short or damaged; copy or export it again") from None
    if at < claimed:
        raise InputError(f"{path}: its header claims {claimed:,} bytes, of which it holds {at:,}; export it again")
    return np.frombuffer(kept, np.uint8), at


def _parts(stream: BinaryIO, kind: str) -> Iterator[bytes]:
    """Decompressed parts of at most a few MiB, of all members of a stream."""
    pending, begun = stream.read(_CHUNK), False
    while pending or not begun:
        if begun and not pending.startswith((b"\x1f\x8b", b"BZh")):
            return  # zeros of a tape, or another trailer: what came before has been checked
        begun = True
        member: _Decompressor = bz2.BZ2Decompressor() if kind == "bzip2" else zlib.decompressobj(_GZIP_OR_ZLIB)
        while not member.eof:
            part = member.decompress(pending, 4 * _CHUNK)
            pending = getattr(member, "unconsumed_tail", b"")
            if part:
                yield part
            if not member.eof and not pending and getattr(member, "needs_input", True):
                pending = stream.read(_CHUNK)
                if not pending:
                    yield from _flushed(member)
                    if not member.eof:
                        raise EOFError
        pending = member.unused_data or stream.read(_CHUNK)


def _flushed(member: _Decompressor) -> Iterator[bytes]:
    """What a decompressor still holds when its input has ended."""
    flush = getattr(member, "flush", None)
    if flush is not None and (rest := flush()):
        yield rest
