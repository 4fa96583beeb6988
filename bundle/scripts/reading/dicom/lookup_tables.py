"""Look-up tables of DICOM: modality LUT, VOI LUT, colour palette (PS3.3 C.11.1.1, C.11.2.1.1, C.7.6.3.1.5 and .6).

A descriptor has three numbers: how many entries (0 for 65,536), the first value mapped, bits an entry. Its VR is to
follow the sign of the values that are mapped, and the entries are to be packed as declared. Files get both wrong, so

* the first value mapped is read with the sign of the values that the table is for, whatever its VR says;
* entries lie in 16-bit words or are packed in bytes, as the length of the data says;
* entries above what the declared bits hold are 16-bit entries; 16-bit palettes with no entry above 255 are 8-bit ones.

Each departure from the declaration is noted. pydicom's own functions know tables of 8 and 16 bits that are in order.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag, Tag

from scripts.errors import InputError

_WORDS = 65_536


@dataclass(frozen=True)
class Table:
    """``entries`` ``[N]`` (uint8 or uint16) for the values from ``first`` on; ``bits`` that an entry uses."""

    first: int
    entries: np.ndarray
    bits: int
    notes: list[str] = field(default_factory=list)

    @property
    def top(self) -> float:
        """The largest value that an entry can have."""
        return 2.0**self.bits - 1

    def apply(self, values: np.ndarray) -> np.ndarray:
        """``values`` of any shape through the table; those outside take its first or last entry."""
        if values.dtype.kind == "f":
            values = np.rint(values)
        index = np.clip(values.astype(np.int64) - self.first, 0, len(self.entries) - 1)
        return self.entries[index]


def table_of(holder: pydicom.Dataset, *, signed: bool, what: str, name: str) -> Table:
    """The table of an item of a modality or VOI LUT sequence.

    Args:
        holder: the item.
        signed: whether the values that are mapped can be negative.
        what: its name, for messages and notes.
        name: the file, for messages.

    Raises:
        InputError: descriptor or data is missing or damaged, or there are fewer entries than declared.
    """
    return _table(holder, "00283002", "00283006", signed=signed, what=what, name=name)


def palette_of(dataset: pydicom.Dataset, *, signed: bool, name: str) -> list[Table]:
    """The red, green and blue tables of a PALETTE COLOR image, with as many bits an entry each.

    Raises:
        InputError: one is missing or damaged.
    """
    tables = [
        _table(dataset, f"0028110{k}", f"0028120{k}", signed=signed, what="colour palette", name=name)
        for k in (1, 2, 3)
    ]
    if all(table.bits == 16 for table in tables) and max(int(table.entries.max()) for table in tables) <= 255:
        note = "the colour palette declares 16 bits and has entries of 8; they were taken as 8-bit"
        tables = [Table(t.first, t.entries.astype(np.uint8), 8, [*t.notes, note]) for t in tables]
    if len({table.bits for table in tables}) > 1:
        most = max(table.bits for table in tables)
        note = "the tables of the colour palette declare different bits; each was stretched to the same range"
        tables = [Table(t.first, _stretched(t, most), most, [*t.notes, note]) for t in tables]
    return tables


def _stretched(table: Table, bits: int) -> np.ndarray:
    return np.rint(table.entries * ((2.0**bits - 1) / table.top)).astype(np.uint16)


def _table(holder: pydicom.Dataset, head: str, data: str, *, signed: bool, what: str, name: str) -> Table:
    described, vr = _words(holder, Tag(head))
    if described is None or len(described) != 3:
        raise InputError(f"{name}: its {what} is missing or has no descriptor of three numbers; export it again")
    count, first, bits = int(described[0]) or _WORDS, int(described[1]), int(described[2])
    notes = []
    if signed and first >= 2**15:
        first -= 2**16
    if (vr == "US" and first < 0) or (vr == "SS" and not signed and first >= 2**15):
        notes.append(f"the {what} writes its first mapped value as {vr}; it was read as {first}")
    if not 1 <= bits <= 16:
        raise InputError(f"{name}: its {what} declares {bits} bits an entry; 8 to 16 are possible")
    entries, packed = _entries(holder, Tag(data), count)
    if entries is None or len(entries) < count:
        there = 0 if entries is None else len(entries)
        raise InputError(f"{name}: its {what} declares {count} entries and has {there}; export it again")
    entries, bits, remark = _true_bits(entries[:count], bits, packed)
    if remark:
        notes.append(f"the {what} {remark}")
    return Table(first, entries, bits, notes)


def _true_bits(entries: np.ndarray, bits: int, packed: bool) -> tuple[np.ndarray, int, str]:
    """(entries, bits that they use, what was found to differ from the declared bits)."""
    if packed and bits > 8:
        return entries, 8, f"declares {bits} bits and packs entries of 8 in bytes; they were taken as 8-bit"
    if int(entries.max()) < 2**bits:
        return entries.astype(np.uint8) if bits <= 8 else entries, bits, ""
    if bits <= 8 and not (entries & 0xFF).any():
        return (entries >> 8).astype(np.uint8), 8, f"declares {bits} bits and has them in the upper half of 16; moved"
    return entries, 16, f"declares {bits} bits and has larger entries; they were taken as 16-bit"


def _entries(holder: pydicom.Dataset, tag: BaseTag, count: int) -> tuple[np.ndarray | None, bool]:
    """(entries, whether they are packed in bytes): as many bytes as entries, or that and one of padding."""
    words, _ = _words(holder, tag)
    if words is None or len(words) >= count or len(words) != (count + 1) // 2:
        return words, False
    in_order = _is_big_endian_bytes(holder, tag)
    return words.astype(">u2" if in_order else "<u2").view(np.uint8), True


def _is_big_endian_bytes(holder: pydicom.Dataset, tag: BaseTag) -> bool:
    """OB of a big-endian file: unlike those in words, its bytes are not swapped in pairs (PS3.5 section 7.3)."""
    element = holder.get_item(tag)
    little = element.is_little_endian if isinstance(element, RawDataElement) else _is_little(holder)
    return not little and element.VR == "OB"


def _words(holder: pydicom.Dataset, tag: BaseTag) -> tuple[np.ndarray | None, str]:
    """(unsigned 16-bit words ``[N]``, VR) of an element; None where it is absent, empty or of no such kind."""
    if tag not in holder.keys():  # noqa: SIM118  (``in holder`` converts the element)
        return None, ""
    element = holder.get_item(tag)
    value, vr = element.value, element.VR or ""
    if isinstance(value, (bytes, bytearray)):
        value = bytes(value)
        little = element.is_little_endian if isinstance(element, RawDataElement) else _is_little(holder)
        value += b"\0" if len(value) % 2 else b""
        if vr in ("DS", "IS", "LO", "SH"):
            return _of_text(value), vr
        found = np.frombuffer(value, "<u2" if little else ">u2").astype(np.uint16)
        return (found if found.size else None), vr
    if value is None:
        return None, vr
    try:
        listed = [int(v) for v in (value if hasattr(value, "__iter__") else [value])]
        return (np.array(listed, np.int64) & 0xFFFF).astype(np.uint16), vr
    except (TypeError, ValueError):
        return None, vr


def _is_little(holder: pydicom.Dataset) -> bool:
    return getattr(holder, "original_encoding", (None, True))[1] is not False


def _of_text(value: bytes) -> np.ndarray | None:
    try:
        return (np.array([int(part) for part in value.decode("ascii").strip(" \0").split("\\")]) & 0xFFFF).astype(
            np.uint16
        )
    except ValueError:
        return None
