"""Patient and study attributes, copied from a source image into a report as DICOM asks for them.

PS3.3 C.7.1.1 Patient and C.7.2.1 General Study: what these modules require (types 1, 2 and 1C), what an identifier of
theirs means nothing without (who issued it), and the time zone that dates are in. Nothing else of a source's header
enters a report: no comments, addresses, occupations, descriptions, nor names of those who perform or read.

Text keeps its characters whatever character set the source used: reports are written in UTF-8 (ISO_IR 192). A value
that breaks its own format (a date such as "1997.04.24" of ACR-NEMA times, a sex of "X") is put right where that is sure
and left out where it is not; the attributes that say who and which study are never left out: their file is refused
instead.
"""

from __future__ import annotations

import re
from typing import Any

import pydicom
from pydicom.datadict import dictionary_VR
from pydicom.valuerep import validate_value

from scripts.errors import InputError

REQUIRED = ("PatientID", "StudyInstanceUID")
# Type 2: there, maybe empty.
ALWAYS = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime",
          "ReferringPhysicianName", "StudyID", "AccessionNumber")  # fmt: skip
WHERE_PRESENT = ("IssuerOfPatientID", "PatientIdentityRemoved", "DeidentificationMethod", "TimezoneOffsetFromUTC")
SEQUENCES = ("IssuerOfPatientIDQualifiersSequence", "IssuerOfAccessionNumberSequence",
             "DeidentificationMethodCodeSequence")  # fmt: skip
_CLOSED = {
    "PatientSex": ("M", "F", "O"),
    "PatientIdentityRemoved": ("YES", "NO"),
}
_SHAPES = {
    "DA": re.compile(r"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])"),
    "TM": re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?"),
    "AS": re.compile(r"\d{3}[DWMY]"),
}


def copy_identity(header: pydicom.Dataset, target: pydicom.Dataset, name: str) -> None:
    """Copy patient and study from ``header`` to ``target``; call it inside ``quiet_pydicom``.

    Args:
        header: of the source image.
        target: the report's data set.
        name: the source file, for the message.

    Raises:
        InputError: PatientID or StudyInstanceUID is missing or breaks DICOM's rules.
    """
    require_identity(header, name)
    for keyword in ALWAYS:
        value = _value(header, keyword)
        setattr(target, keyword, "" if value is None else value)
    for keyword in WHERE_PRESENT:
        value = _value(header, keyword)
        if value is not None:
            setattr(target, keyword, value)
    for keyword in SEQUENCES:
        items = _items(header, keyword)
        if items:
            setattr(target, keyword, items)
    how = target.get("DeidentificationMethod") or target.get("DeidentificationMethodCodeSequence")
    if target.get("PatientIdentityRemoved") == "YES" and not how:
        target.DeidentificationMethod = "Not stated in the source image"  # type 1C: a method has to be named


def require_identity(header: pydicom.Dataset, name: str) -> None:
    """Refuse a header that does not say who and which study, whatever kind of report is to be written.

    Raises:
        InputError: PatientID or StudyInstanceUID is missing or breaks DICOM's rules.
    """
    for keyword in REQUIRED:
        if _value(header, keyword) is None:
            raise InputError(f"{name}: its {keyword} is missing or invalid, so a report could not be filed; repair it")


def text_of(header: pydicom.Dataset, keyword: str) -> str:
    """A copied attribute as plain text, "" where absent or invalid."""
    value = _value(header, keyword)
    return "" if value is None else str(value)


def day_of(header: pydicom.Dataset, keyword: str) -> str:
    """A date as ``YYYY-MM-DD``, "" where absent or invalid."""
    date = text_of(header, keyword)
    return f"{date[:4]}-{date[4:6]}-{date[6:]}" if len(date) == 8 else ""


def _value(header: pydicom.Dataset, keyword: str) -> Any:
    """The attribute's value if it is there, single, and valid for its VR; else None."""
    try:
        value = header.get(keyword)
    except Exception:  # bytes that make no sense for their VR; pydicom raises many kinds
        return None
    if value is None or isinstance(value, pydicom.multival.MultiValue):
        return None
    text = str(value).strip()
    vr = dictionary_VR(keyword)
    if vr == "DA":
        text = text.replace(".", "") if re.fullmatch(r"\d{4}\.\d{2}\.\d{2}", text) else text
    elif vr == "TM":
        text = text.replace(":", "") if re.fullmatch(r"\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?", text) else text
    if not text.strip("^= ") or "\ufffd" in text or not _is_valid(vr, keyword, text):
        return None
    return text if vr in ("DA", "TM", "AS", "CS", "UI") else value


def _is_valid(vr: str, keyword: str, text: str) -> bool:
    if keyword in _CLOSED:
        return text in _CLOSED[keyword]
    if vr in _SHAPES:
        return _SHAPES[vr].fullmatch(text) is not None
    if any(ord(character) < 32 and character != "\x1b" for character in text):
        return False
    try:
        validate_value(vr, text, pydicom.config.RAISE)
    except ValueError:
        return False
    return True


def _items(header: pydicom.Dataset, keyword: str) -> list[pydicom.Dataset]:
    """Items of a sequence with their text decoded by the source's character set; private elements stay behind."""
    try:
        items = []
        for item in header.get(keyword) or []:
            copied = pydicom.Dataset()
            for element in item:
                if not element.tag.is_private and element.keyword != "SpecificCharacterSet" and element.VR != "SQ":
                    copied.add_new(element.tag, element.VR, element.value)
            items.append(copied)
    except Exception:  # a damaged optional sequence is left out
        return []
    return items
