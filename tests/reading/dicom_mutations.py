"""Tags of a DICOM file that contradict each other or the pixel data: see `mutations`."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless

Mutation = Callable[[Any, random.Random], str]
"""Changes a data set in place and says how; "" where it does not apply."""


def mutate_dicom(source: Path, target: Path, chance: random.Random) -> str:
    while True:
        made = pydicom.dcmread(source)
        said = _mutated(made, chance)
        if not is_another_good_file(made, pydicom.dcmread(source)):
            break
    out = BytesIO()
    try:
        with pydicom.config.disable_value_validation():
            made.save_as(out)
    except Exception:  # what pydicom cannot write in this transfer syntax stays as it was
        out, said = BytesIO(source.read_bytes()), "unchanged"
    target.write_bytes(out.getvalue())
    return said


def _mutated(made: Any, chance: random.Random) -> str:
    """Change a data set once or twice, and say how."""
    done: list[str] = []
    with pydicom.config.disable_value_validation():
        for _ in range(chance.choice((1, 1, 1, 2))):
            for _ in range(20):
                try:
                    said = chance.choice(_DICOM)(made, chance)
                except (AttributeError, KeyError, IndexError, TypeError, ValueError, struct.error):
                    continue  # the mutation before took away what this one changes
                if said:
                    done.append(said)
                    break
    return " and ".join(done)


SHAPE = ("NumberOfFrames", "Rows", "Columns", "SamplesPerPixel", "BitsAllocated")


def is_another_good_file(made: Any, source: Any) -> bool:
    """Whether two changes of an uncompressed file cancel out: other sizes, and all of them fit its data.

    Twice the columns of half the bits are as many bytes, and nothing in the file tells that they were not meant.
    """
    syntax = source.file_meta.TransferSyntaxUID
    if made.file_meta.TransferSyntaxUID != syntax or syntax.is_encapsulated:
        return False
    if not all(name in made for name in (*SHAPE[1:], "PixelData")):
        return False
    sizes, before = ([int(each.get(name) or 1) for name in SHAPE] for each in (made, source))
    bits_fit = made.get("BitsStored", 0) <= sizes[-1] and made.get("HighBit", 0) == made.get("BitsStored", 0) - 1
    length = math.prod(sizes) // 8
    return sizes != before and bits_fit and length + length % 2 == len(made.PixelData)


def _put(made: Any, keyword: str, vr: str, value: Any) -> None:
    made[tag_for_keyword(keyword)] = DataElement(tag_for_keyword(keyword), vr, value)


def _planar(made: Any, chance: random.Random) -> str:
    """Says nothing of compressed colour; impossible or absent, it is assumed and noted."""
    if made.SamplesPerPixel != 3:
        return ""
    compressed = made.file_meta.TransferSyntaxUID.is_encapsulated
    value = chance.choice((0, 1, 5, None) if compressed else (5, None))
    if value is None:
        made.pop("PlanarConfiguration", None)
    else:
        made.PlanarConfiguration = value
    return f"PlanarConfiguration {value}"


def _size(made: Any, chance: random.Random) -> str:
    if getattr(made, "resized", False):
        return ""
    keyword = chance.choice(("Rows", "Columns"))
    factor = chance.choice((0.5, 2, 3, 0.9, 1.1))
    setattr(made, keyword, int(made[keyword].value * factor))
    made.resized = True  # a cut to the same share would make another good file of it
    return f"{keyword} times {factor}"


def _frames(made: Any, chance: random.Random) -> str:
    if made.get("NumberOfFrames", 1) != 1:
        return ""
    made.NumberOfFrames = chance.choice(("2", "7", "-1", "99999"))
    return f"NumberOfFrames {made.NumberOfFrames}"


def _samples(made: Any, chance: random.Random) -> str:
    made.SamplesPerPixel = chance.choice([n for n in (1, 3, 4) if n != made.SamplesPerPixel])
    return f"SamplesPerPixel {made.SamplesPerPixel}"


def _photometric(made: Any, chance: random.Random) -> str:
    colour = made.SamplesPerPixel == 3
    if made.PhotometricInterpretation == "MONOCHROME1":
        return ""  # MONOCHROME2 would be assumed, as noted: tested by itself
    value = chance.choice(("MONOCHROME2", "XYZ", "", "PALETTE COLOR") if colour else ("RGB", "YBR_FULL_422", "XYZ", ""))
    made.PhotometricInterpretation = value
    return f"PhotometricInterpretation {value!r}"


def _bits(made: Any, chance: random.Random) -> str:
    keyword = chance.choice(("BitsStored", "BitsAllocated", "HighBit"))
    if keyword == "BitsAllocated":
        value = chance.choice([n for n in (0, 8, 16, 32, 12) if n != made.BitsAllocated])
    elif keyword == "BitsStored":
        value = chance.choice((0, made.BitsAllocated + 1, 77))
    else:
        value = chance.choice((0, 200, made.BitsAllocated))
    setattr(made, keyword, value)
    return f"{keyword} {value}"


def _absent(made: Any, chance: random.Random) -> str:
    if made.PixelRepresentation or made.PhotometricInterpretation == "MONOCHROME1":
        return ""
    keyword = chance.choice(("BitsStored", "BitsAllocated", "HighBit", "PixelRepresentation", "SamplesPerPixel",
                             "PhotometricInterpretation", "Rows", "PixelData"))  # fmt: skip
    made.pop(keyword, None)
    return f"no {keyword}"


def _sign(made: Any, chance: random.Random) -> str:
    """A JPEG 2000 frame states its sign."""
    if made.file_meta.TransferSyntaxUID != JPEG2000Lossless or made.SamplesPerPixel != 1:
        return ""
    made.PixelRepresentation = 1 - made.PixelRepresentation
    return "PixelRepresentation turned"


def _rescale(made: Any, chance: random.Random) -> str:
    """The same number written in another way, or something that is no number."""
    holder = made
    if "PerFrameFunctionalGroupsSequence" in made:
        holder = chance.choice(list(made.PerFrameFunctionalGroupsSequence)).PixelValueTransformationSequence[0]
    if "RescaleIntercept" not in holder:
        return ""
    number = float(holder.RescaleIntercept)
    writings: list[tuple[str, Any]] = [
        ("DS", f"{number:.1f}".replace(".", ",")), ("FD", number), ("FL", number), ("SS", int(number)),
        ("LO", f"{number:g}"), ("US", int(number) % 65536), ("SL", int(number)), ("DS", "abc"), ("LO", "none"),
        ("DS", "-1,024"), ("DS", "nan"), ("DS", "1e300"), ("DS", f"{number:g}\\\\7"), ("ST", "-1024 HU"),
    ]  # fmt: skip
    keyword = chance.choice(("RescaleIntercept", "RescaleIntercept", "RescaleSlope"))
    if keyword == "RescaleSlope":
        writings = [("DS", "1,0"), ("DS", "0"), ("FD", 1.0), ("US", 1), ("LO", "1"), ("DS", "x"), ("DS", "1,000")]
    vr, value = chance.choice(writings)
    if chance.random() < 0.15:
        holder.pop(keyword, None)
        return f"no {keyword}"
    element = DataElement(tag_for_keyword(keyword), "LO" if vr == "DS" else vr, value)
    if vr == "DS":  # pydicom writes decimal strings only from numbers
        element.VR = "DS"
    holder[element.tag] = element
    return f"{keyword} as {vr} {value!r}"


def _padding(made: Any, chance: random.Random) -> str:
    vr, value = chance.choice((("US", 63536), ("SS", -2000), ("FD", 3.0), ("LO", "x"), ("UL", 2**31)))
    _put(made, "PixelPaddingValue", vr, value)
    return f"PixelPaddingValue as {vr} {value}"


def _window(made: Any, chance: random.Random) -> str:
    vr, value = chance.choice((("LO", "40,0"), ("LO", "x"), ("FD", 40.0), ("US", 3)))
    _put(made, "WindowCenter", vr, value)
    return f"WindowCenter as {vr} {value}"


def _table(made: Any, chance: random.Random) -> str:
    """A descriptor or data that do not fit each other."""
    item = (made.get("ModalityLUTSequence") or made.get("VOILUTSequence") or [None])[0]
    head, data = "LUTDescriptor", "LUTData"
    if item is None:
        if "RedPaletteColorLookupTableData" not in made:
            return ""
        item, colour = made, chance.choice(("Red", "Green", "Blue"))
        head, data = f"{colour}PaletteColorLookupTableDescriptor", f"{colour}PaletteColorLookupTableData"
    count, first, bits = (int(v) for v in item[head].value)
    way = chance.choice(("vr", "count", "cut", "words", "absent", "text"))
    if way == "vr":
        vr = "SS" if item[head].VR == "US" else "US"
        numbers = [count, first, bits]
        numbers = [n % 65536 if vr == "US" else (n + 2**15) % 2**16 - 2**15 for n in numbers]
        _put(item, head, vr, numbers)
    elif way == "count":
        item[head].value = [count * 4, first, bits]
    elif way == "cut":
        item[data].value = item[data].value[: chance.choice((10, len(item[data].value) // 4 * 2 - 20))]
    elif way == "words":
        if len(item[data].value) == 2 * count and bits <= 8:
            item[data].value = np.frombuffer(item[data].value, "<u2").astype(np.uint8).tobytes()
        elif len(item[data].value) == count and bits <= 8:
            item[data].value = np.frombuffer(item[data].value, np.uint8).astype("<u2").tobytes()
        else:
            return ""
    elif way == "absent":
        del item[chance.choice((head, data))]
    else:
        _put(item, head, "LO", f"{count}\\{first}\\{bits}")
    return f"{head}: {way}"


def _syntax(made: Any, chance: random.Random) -> str:
    """Another transfer syntax than that of the bytes; the data set keeps its encoding."""
    now = made.file_meta.TransferSyntaxUID
    others = ["1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90",
              "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.4.94", "1.3.46.670589.33.1.4.1",
              "1.2.840.10008.1.2.4.110", ExplicitVRLittleEndian]  # fmt: skip
    other = chance.choice([uid for uid in others if uid != now])
    if now.is_implicit_VR or not now.is_little_endian or now.is_deflated:
        return ""
    if other == ExplicitVRLittleEndian and not now.is_encapsulated:
        return ""
    made.file_meta.TransferSyntaxUID = UID(other)
    return f"transfer syntax {other}"


def _offsets(made: Any, chance: random.Random) -> str:
    """A basic offset table that points nowhere; one frame needs none."""
    if not made.file_meta.TransferSyntaxUID.is_encapsulated:
        return ""
    data = made.PixelData
    if data[:4] != b"\xfe\xff\x00\xe0" or struct.unpack("<I", data[4:8])[0] != 4:
        return ""
    made.PixelData = data[:8] + struct.pack("<I", chance.choice((1, 77, 2**31))) + data[12:]
    made["PixelData"].VR, made["PixelData"].is_undefined_length = "OB", True
    return "basic offset table"


def _short(made: Any, chance: random.Random) -> str:
    if made.file_meta.TransferSyntaxUID.is_encapsulated or getattr(made, "resized", False):
        return ""
    keep = chance.choice((0.25, 0.5, 0.9))
    length = int(len(made.PixelData) * keep) // 2 * 2
    vr = made["PixelData"].VR
    made.PixelData = made.PixelData[:length]
    made["PixelData"].VR = vr
    made.resized = True
    return f"{keep:.0%} of the pixel data"


_DICOM: tuple[Mutation, ...] = (
    _planar, _size, _frames, _samples, _photometric, _bits, _absent, _sign, _rescale, _rescale, _padding, _window,
    _table, _table, _syntax, _offsets, _short,
)  # fmt: skip
