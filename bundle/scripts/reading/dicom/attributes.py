"""Attributes that may leave a DICOM header: numbers, and words from the closed lists in this file. Nothing else.

Free text (descriptions, comments, names), identifiers, dates and UIDs stay inside the reader, since any of them can
name a person. Descriptions are searched for the words of `_HINTS` and only the hint itself is handed on.
"""

from __future__ import annotations

import math
import re
from functools import cache
from struct import unpack
from typing import Any

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

_CODES = (
    "AR BDUS BI BMD CD CF CFM CP CR CS CT DD DF DG DM DMS DS DX ES EC ECG EPS FA FS GM HC IO IOL IVOCT IVUS KER LEN LP "
    "LS MA MG MR MS NM OAM OCT OP OPM OPR OPT OPTBSV OPTENF OPV OSS OT PA PR PT PX "
    "REG RF RG RTDOSE RTIMAGE RTPLAN RTRECORD RTSTRUCT RWV SEG SM SMR SR SRF ST TG US VA VF XA XC"
)
MODALITIES = frozenset(_CODES.split())
"""Modality codes of DICOM PS3.3 C.7.3.1.1.1 that occur in practice, retired ones (MA, DS, ST, ...) too."""
_PLAIN_FILM = frozenset(("CR", "DX", "RG", "PX", "IO"))
_BODY_PARTS = {
    "head": "HEAD SKULL FACE ORBIT ORBITS EYE EAR SINUS SINUSES JAW MANDIBLE MAXILLA TMJ",
    "brain": "BRAIN CEREBRUM",
    "neck": "NECK CAROTID THYROID LARYNX HEADNECK",
    "chest": "CHEST THORAX LUNG LUNGS HEART MEDIASTINUM AORTA RIB RIBS STERNUM CHESTABDPELVIS CHESTABDOMEN",
    "breast": "BREAST",
    "abdomen": "ABDOMEN LIVER KIDNEY PANCREAS SPLEEN GALLBLADDER STOMACH COLON BOWEL ABDOMENPELVIS ABDPEL",
    "pelvis": "PELVIS BLADDER PROSTATE UTERUS OVARY RECTUM SACRUM",
    "spine": "SPINE CSPINE TSPINE LSPINE SSPINE CTSPINE TLSPINE LSSPINE COCCYX WHOLESPINE",
    "extremity": "EXTREMITY SHOULDER CLAVICLE SCAPULA HUMERUS ARM ELBOW FOREARM WRIST HAND FINGER THUMB HIP FEMUR "
    "THIGH KNEE PATELLA LEG CALF TIBIA FIBULA ANKLE FOOT TOE CALCANEUS",
}
_PART_OF = {word: part for part, words in _BODY_PARTS.items() for word in words.split()}
_HINTS = (
    ("lung", ("LUNG", "PULMO", "HRCT", "THORAX HR")),
    ("bone", ("BONE", "OSSEOUS", "KNOCHEN")),
    ("brain", ("BRAIN", "CEREBR", "HEAD ROUTINE", "ROUTINE HEAD", "CRANI")),
    ("liver", ("LIVER", "HEPAT")),
    ("mediastinum", ("MEDIAST", "CHEST", "THORAX")),
    ("abdomen", ("ABDOM", "ABD", "PELVI", "KIDNEY", "RENAL", "PANCREA")),
    ("spine", ("SPINE",)),
)
"""Window preset -> words in descriptions that ask for it; the first match wins."""

UNREADABLE = "not a number"
"""The remark on a value that is there and cannot be read."""
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
_BLANK: dict[type, Any] = {str: " \0", bytes: b" \0"}
_ALIKE = frozenset((("DS", "IS"), ("IS", "DS"), ("US", "SS"), ("SS", "US")))


def modality_of(header: Dataset) -> tuple[str, str]:
    """(modality for captions, DICOM code): plain film (CR, DX, ...) is "XR"; unknown codes are ""."""
    code = word(header, "Modality")
    code = code if code in MODALITIES else ""
    return ("XR" if code in _PLAIN_FILM else code), code


def body_part_of(header: Dataset) -> str:
    """A region from a closed list ("head", "chest", ...), or ""."""
    return _PART_OF.get(word(header, "BodyPartExamined").replace(" ", "").replace("_", ""), "")


def window_hint_of(header: Dataset) -> str:
    """The CT preset that the series' or protocol's description asks for, or ""."""
    text = " ".join(word(header, name) for name in ("SeriesDescription", "ProtocolName", "StudyDescription"))
    for hint, words in _HINTS:
        if any(w in text for w in words):
            return hint
    return ""


def ultrasound_regions_of(header: Dataset) -> list[list[int]]:
    """Boxes [top, left, bottom, right] (ends excluded) of the picture areas of an ultrasound image; often none."""
    sequence = safe(header, "SequenceOfUltrasoundRegions")
    height, width = whole(header, "Rows"), whole(header, "Columns")
    boxes = []
    for region in sequence if sequence is not None and not isinstance(sequence, (str, bytes)) else []:
        corners = [number(region, f"RegionLocation{end}") for end in ("MinY0", "MinX0", "MaxY1", "MaxX1")]
        if any(c is None for c in corners):
            continue
        top, left, bottom, right = (int(c) for c in corners)  # type: ignore[arg-type]
        box = [max(0, top), max(0, left), min(height, bottom + 1), min(width, right + 1)]
        if box[2] - box[0] >= 16 and box[3] - box[1] >= 16:
            boxes.append(box)
    return boxes


def word(header: Dataset, keyword: str) -> str:
    """A text attribute in capitals, "" where absent, empty or unreadable. For comparison only, never for output."""
    value = safe(header, keyword)
    if value is None:
        return ""
    if not isinstance(value, str) and hasattr(value, "__iter__"):
        value = "\\".join(str(v) for v in value)
    return str(value).strip().upper()


def number(header: Dataset, keyword: str) -> float | None:
    """A finite number, the first of several, or None."""
    found = numbers(header, keyword)
    return found[0] if found else None


def numbers(header: Dataset, keyword: str, count: int | None = None) -> list[float] | None:
    """Finite numbers of an attribute, None where absent, unreadable, or not ``count`` of them.

    Numbers in another VR than the standard's, and with a decimal comma, are read: `remark_on` says so.
    """
    found = _finite(safe(header, keyword))
    return None if found is None or (count is not None and len(found) != count) else found


def remark_on(header: Dataset, keyword: str) -> str:
    """What is odd about how a numeric attribute is written, for notes; "" where it is absent, empty or in order.

    `UNREADABLE` where it has a value that is no finite number. Nothing of the value itself is in the remark.
    """
    tag = _tag_of(keyword)
    if tag not in header.keys():  # noqa: SIM118
        return ""
    element = header.get_item(tag)
    if element.value is None or (
        isinstance(element.value, (str, bytes)) and not element.value.strip(_BLANK[type(element.value)])
    ):
        return ""
    if _finite(safe(header, keyword)) is None:
        return UNREADABLE
    usual = dictionary_VR(tag)
    vr = element.VR or usual
    if vr not in usual.split(" or ") and (usual, vr) not in _ALIKE:
        return f"written as {vr}"
    text = element.value if isinstance(element.value, (str, bytes)) else ""
    comma = b"," if isinstance(text, bytes) else ","
    return "written with a decimal comma" if vr in ("DS", "IS") and comma in text else ""


def _finite(value: Any) -> list[float] | None:
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    try:
        if isinstance(value, str):
            found = _parsed(value)
        elif value is None:
            return None
        else:
            found = [float(v) for v in (value if hasattr(value, "__iter__") else [value])]
    except (TypeError, ValueError):
        return None
    return found if found and all(map(math.isfinite, found)) else None


def _parsed(text: str) -> list[float] | None:
    """Decimal strings, with a point or a comma; None for a comma that may just as well group thousands ("1,024")."""
    text = text.strip(" \0")
    if "," not in text:
        return [float(part) for part in text.split("\\")] if text else None
    found = []
    for part in text.split("\\"):
        part = part.strip()
        if "," in part and (not _DECIMAL_COMMA.fullmatch(part) or _THOUSANDS.fullmatch(part)):
            raise ValueError
        found.append(float(part.replace(",", ".")))
    return found


def whole(header: Dataset, keyword: str, default: int = 0) -> int:
    """A whole number, or ``default``."""
    value = number(header, keyword)
    return default if value is None else int(value)


def item(header: Dataset, keyword: str) -> Dataset | None:
    """The first item of a sequence, or None."""
    value = safe(header, keyword)
    try:
        first = value[0] if value is not None and len(value) else None  # type: ignore[arg-type]
    except (TypeError, IndexError, KeyError):
        return None
    return first if isinstance(first, Dataset) else None


def safe(header: Dataset, keyword: str) -> Any:
    """An attribute's value, None where absent or where its bytes make no sense.

    The common short kinds are taken from the raw bytes: pydicom's conversion to its value classes would cost as much as
    decoding the pixels of a CT slice.
    """
    tag = _tag_of(keyword)
    if tag not in header.keys():  # noqa: SIM118  (``in header`` converts the tag first, at ten times the cost)
        return None
    try:
        element = header.get_item(tag)
        if isinstance(element, RawDataElement):
            reader = _RAW_READERS.get(element.VR or dictionary_VR(tag))
            if reader is not None and element.value is not None:
                return reader(element.value, element.is_little_endian)
        return header[tag].value
    except Exception:  # pydicom raises many kinds on damaged values; an unreadable value counts as absent
        return None


@cache
def _tag_of(keyword: str) -> BaseTag:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return BaseTag(tag)


def _raw_numbers(value: bytes, _: bool) -> list[float] | None:
    """DS or IS."""
    return _parsed(value.decode("ascii"))


def _raw_shorts(value: bytes, little_endian: bool) -> list[int] | None:
    """US."""
    count = len(value) // 2
    return list(unpack(f"{'<' if little_endian else '>'}{count}H", value)) if count else None


def _raw_text(value: bytes, _: bool) -> str:
    """CS, UI, or free text, of which only capital letters of ASCII are compared."""
    return value.decode("latin-1").strip(" \0")


_RAW_READERS = {
    "DS": _raw_numbers, "IS": _raw_numbers, "US": _raw_shorts, "CS": _raw_text, "LO": _raw_text, "SH": _raw_text,
}  # fmt: skip
