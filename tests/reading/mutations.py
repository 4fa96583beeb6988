"""Files whose tags contradict each other or their data: structured mutations of good ones, for `fuzzing`.

Each mutation leaves something in the file by which it can be told: the length of the data, what a compressed frame says
of itself, a VR, a checksum, a second orientation. What reads such a file must give the pixels of the good one, or say
in a note what it believed, or refuse. (A file in which nothing contradicts, such as one whose rescale was changed to
another good number, is another good file.)
"""

from __future__ import annotations

import gzip
import random
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import made_files
import made_kinds
import numpy as np
from dicom_mutations import mutate_dicom


def seeds(folder: Path) -> list[Path]:
    """Good files with known pixels: some of each kind of `made_kinds`, a CT slice, and an enhanced CT."""
    folder.mkdir(parents=True, exist_ok=True)
    found: list[Path] = []
    chance = random.Random(0)
    for maker, wanted in ((made_kinds.dicom_grey, 24), (made_kinds.dicom_colour, 14), (made_kinds.dicom_tables, 16),
                          (made_kinds.dicom_high_bit, 2), (made_kinds.tiffs, 16), (made_kinds.niftis, 16),
                          (made_kinds.nrrds, 12), (made_kinds.metaimages, 10)):  # fmt: skip
        place = folder / maker.__name__
        place.mkdir()
        made = [one.path for one in maker(place)]
        found += chance.sample(made, min(wanted, len(made)))
    volume = made_kinds.block(np.dtype("u2"), 3)[:4] % 2000
    plain = made_files.ct_slice(volume[0].astype(int) - 1024, WindowCenter=40, WindowWidth=400, PixelPaddingValue=0)
    found.append(made_files.save(folder / "ct.dcm", plain))
    found.append(
        made_files.save(folder / "enhanced.dcm", made_files.enhanced_ct(volume.astype(int) - 1024, [2, 0, 3, 1]))
    )
    return found


def mutate(source: Path, target: Path, chance: random.Random) -> str:
    """Write a mutated copy of ``source`` and say what was done."""
    if source.suffix == ".dcm":
        return mutate_dicom(source, target, chance)
    data = source.read_bytes()
    if source.suffix == ".gz":
        return _mutate_gzip(data, target, chance)
    ways = {".tif": _TIFF, ".nii": _NIFTI, ".nrrd": _NRRD, ".mha": _META}[source.suffix]
    name, way = chance.choice(ways)
    target.write_bytes(way(data, chance))
    return name


def _mutate_gzip(data: bytes, target: Path, chance: random.Random) -> str:
    way = chance.choice(("flip", "checksum", "length", "cut", "header"))
    changed = bytearray(data)
    if way == "flip":
        changed[chance.randrange(20, len(data) - 8)] ^= 1 << chance.randrange(8)
    elif way == "checksum":
        changed[-8 + chance.randrange(4)] ^= 1 << chance.randrange(8)
    elif way == "length":
        changed[-4 + chance.randrange(4)] ^= 1 << chance.randrange(8)
    elif way == "cut":
        changed = changed[: chance.randrange(30, len(data))]
    else:
        name, change = chance.choice(_NIFTI)
        target.write_bytes(gzip.compress(change(gzip.decompress(data), chance), 1))
        return name
    target.write_bytes(bytes(changed))
    return f"gzip: {way}"


Change = Callable[[bytes, random.Random], bytes]


def _nifti_field(offset: int, form: str, values: Iterable[Any]) -> Change:
    listed = list(values)

    def change(data: bytes, chance: random.Random) -> bytes:
        order = "<" if struct.unpack("<i", data[:4])[0] == 348 else ">"
        packed = struct.pack(order + form, chance.choice(listed))
        return data[:offset] + packed + data[offset + len(packed) :]

    return change


def _zero_sform(data: bytes, _: random.Random) -> bytes:
    return data[:280] + b"\0" * 48 + data[328:]


_NIFTI: list[tuple[str, Change]] = [
    ("dim[1]", _nifti_field(42, "h", (0, -3, 7, 300))), ("dim[2]", _nifti_field(44, "h", (0, 20, 77))),
    ("dim[0]", _nifti_field(40, "h", (0, 9, -1, 1))), ("bitpix", _nifti_field(72, "h", (1, 12, 128, 24))),
    ("datatype", _nifti_field(70, "h", (0, 1, 3, 1792, 2048))),
    ("vox_offset", _nifti_field(108, "f", (0.0, 368.0, 1e9))),
    ("the sform is zero", _zero_sform), ("sform_code", _nifti_field(254, "h", (0,))),
    ("scl_slope", _nifti_field(112, "f", (0.0, float("nan")))), ("pixdim", _nifti_field(80, "f", (0.0, 9.0))),
]  # fmt: skip


def _line(key: bytes, values: Iterable[bytes]) -> Change:
    """Another value of a line of a text header; the line is dropped for b""."""
    listed = list(values)

    def change(data: bytes, chance: random.Random) -> bytes:
        start = data.find(b"\n" + key) + 1
        if start == 0:
            return data
        end = data.find(b"\n", start) + 1
        value = chance.choice(listed)
        mark = b" = " if b"=" in data[start:end] else b": "
        return data[:start] + (key + mark + value + b"\n" if value else b"") + data[end:]

    return change


def _flip_voxels(data: bytes, chance: random.Random) -> bytes:
    """One bit of the last third: a compressed stream's checksum tells; of uncompressed data nothing would."""
    packed = b"encoding: gzip" in data or b"encoding: bzip2" in data or b"CompressedData = True" in data
    changed = bytearray(data)
    if packed:
        changed[chance.randrange(len(data) * 2 // 3, len(data))] ^= 1 << chance.randrange(8)
    return bytes(changed)


_NRRD: list[tuple[str, Change]] = [
    ("sizes", _line(b"sizes", (b"56 40", b"56 40 9 2", b"0 40 5", b"20 40 5", b"x"))),
    ("dimension", _line(b"dimension", (b"1", b"5", b"9", b"", b"-1"))),
    ("type", _line(b"type", (b"block", b""))),
    ("encoding", _line(b"encoding", (b"raw", b"gzip", b"bzip2", b"hex", b"x", b""))),
    ("endian", _line(b"endian", (b"", b"x"))),
    ("kinds", _line(b"kinds", (b"", b"domain", b"time time time"))), ("space", _line(b"space", (b"", b"nowhere"))),
    ("space directions", _line(b"space directions", (b"", b"(0,0,0) (0,0,0) (0,0,0)", b"(1,0,0) (1,0,0) (1,0,0)"))),
    ("a voxel's bit", _flip_voxels),
]  # fmt: skip
_META: list[tuple[str, Change]] = [
    ("DimSize", _line(b"DimSize", (b"56 40", b"56 40 9", b"0 40 5", b"20 20 5", b"x"))),
    ("NDims", _line(b"NDims", (b"1", b"2", b"5", b"x"))),
    ("ElementType", _line(b"ElementType", (b"MET_X", b"MET_DOUBLE"))),
    ("CompressedData", _line(b"CompressedData ", (b"= True", b"= False"))),
    ("ElementNumberOfChannels", _line(b"ElementNumberOfChannels", (b"2", b"4", b"0", b"x"))),
    ("TransformMatrix", _line(b"TransformMatrix", (b"", b"0 0 0 0 0 0 0 0 0", b"1 0 0 1 0 0 1 0 0", b"x"))),
    ("ElementDataFile", _line(b"ElementDataFile", (b"", b"other.raw", b"/etc/passwd"))),
    ("a voxel's bit", _flip_voxels),
]  # fmt: skip


def _tiff_tag(tag: int, values: Iterable[int]) -> Change:
    """Another value of a tag of one short or long of the first directory."""
    listed = list(values)

    def change(data: bytes, chance: random.Random) -> bytes:
        order = "<" if data[:2] == b"II" else ">"
        big = struct.unpack(order + "H", data[2:4])[0] == 43
        at = struct.unpack(order + ("Q" if big else "I"), data[8:16] if big else data[4:8])[0]
        count = struct.unpack(order + ("Q" if big else "H"), data[at : at + (8 if big else 2)])[0]
        entry, size = at + (8 if big else 2), 20 if big else 12
        for number in range(count):
            place = entry + number * size
            found, kind = struct.unpack(order + "HH", data[place : place + 4])
            if found == tag and kind in (3, 4, 16):
                form = {3: "H", 4: "I", 16: "Q"}[kind]
                at_value = place + (12 if big else 8)
                packed = struct.pack(order + form, chance.choice(listed))
                return data[:at_value] + packed + data[at_value + len(packed) :]
        return data

    return change


_TIFF: list[tuple[str, Change]] = [
    ("ImageWidth", _tiff_tag(256, (0, 28, 55, 57, 112, 60000))),
    ("ImageLength", _tiff_tag(257, (0, 20, 39, 41, 60000))),
    ("BitsPerSample", _tiff_tag(258, (1, 12, 24, 64))), ("Compression", _tiff_tag(259, (5, 7, 32773, 50000))),
    ("StripByteCounts", _tiff_tag(279, (0, 7))), ("RowsPerStrip", _tiff_tag(278, (0, 1, 7))),
    ("SamplesPerPixel", _tiff_tag(277, (0, 2, 4, 9))), ("SampleFormat", _tiff_tag(339, (0, 5, 9))),
    ("PhotometricInterpretation", _tiff_tag(262, (5, 6, 99))), ("Predictor", _tiff_tag(317, (7, 99))),
]  # fmt: skip
