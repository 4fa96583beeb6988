"""LZW and PackBits of TIFF strips (TIFF 6.0, sections 13 and 9)."""

from __future__ import annotations

_CLEAR, _END = 256, 257
_MOST_CODES = 4096


def unpack_lzw(data: bytes, needed: int) -> bytes:
    """The first ``needed`` bytes (or fewer, where there are no more) of a strip, codes packed from the highest bit.

    Raises:
        ValueError: a code that no table can have, or it does not begin as strips do.
    """
    if len(data) < 2 or data[0] << 1 | data[1] >> 7 != _CLEAR:
        raise ValueError("does not begin with the code that clears the table")
    plain = [bytes((value,)) for value in range(256)] + [b"", b""]
    table, previous = list(plain), b""
    found: list[bytes] = []
    length, width, buffer, held = 0, 9, 0, 0
    for byte in data:
        buffer = (buffer << 8 | byte) & 0xFFFFFF
        held += 8
        if held < width:
            continue
        held -= width
        code = buffer >> held & ((1 << width) - 1)
        if code == _CLEAR:
            table, previous, width = list(plain), b"", 9
            continue
        if code == _END or length >= needed:
            break
        if code < len(table):
            entry = table[code]
        elif code == len(table) and previous:
            entry = previous + previous[:1]
        else:
            raise ValueError("no such code")
        if previous and len(table) < _MOST_CODES:
            table.append(previous + entry[:1])
        found.append(entry)
        length += len(entry)
        previous = entry
        size = len(table) + 1  # TIFF widens one code early
        width = 9 if size < 512 else 10 if size < 1024 else 11 if size < 2048 else 12
    return b"".join(found)[:needed]


def unpack_bits(data: bytes, needed: int) -> bytes:
    """The ``needed`` bytes (or fewer, where there are no more) of PackBits runs.

    Raises:
        ValueError: runs go on beyond them, which no row of a strip does.
    """
    found = bytearray()
    at = 0
    while at < len(data) and len(found) < needed:
        count = data[at]
        at += 1
        if count < 128:
            found += data[at : at + count + 1]
            at += count + 1
        elif count > 128:
            found += data[at : at + 1] * (257 - count)
            at += 1
    if len(found) > needed or len(data) - at > 1:
        raise ValueError("runs go on beyond the strip")
    return bytes(found)
