"""Padding of DICOM images: the values outside of what was scanned (PS3.3 C.7.5.1.1.2), left out of statistics."""

from __future__ import annotations

import pydicom

from scripts.reading.dicom.attributes import number, remark_on
from scripts.reading.dicom.pixel_description import PixelDescription
from scripts.reading.dicom.rescale import Rescale


def padding_of(
    dataset: pydicom.Dataset, described: PixelDescription, rescale: Rescale | None, notes: list[str]
) -> list[float] | None:
    """[lowest, highest] padding value, on the scale of the values after rescaling; None where the file names none.

    The VR of PixelPaddingValue is to follow the sign of the pixels; where it does not, its bits are taken with their
    sign, and that is noted.
    """
    first = _value(dataset, "PixelPaddingValue", described, notes)
    if first is None or described.is_float:
        return None
    limit = _value(dataset, "PixelPaddingRangeLimit", described, notes)
    slope, intercept = (rescale.slope, rescale.intercept) if rescale else (1.0, 0.0)
    return sorted(v * slope + intercept for v in (first, first if limit is None else limit))


def _value(dataset: pydicom.Dataset, keyword: str, described: PixelDescription, notes: list[str]) -> float | None:
    value = number(dataset, keyword)
    if remark := remark_on(dataset, keyword):
        notes.append(f"{keyword} is {remark}")
    if value is None or described.allocated > 16:
        return value
    span = 2**16
    read = value
    if described.signed and 2**15 <= value < span:
        read = value - span
    elif not described.signed and -(2**15) <= value < 0:
        read = value + span
    if read != value and described.stored < 16 and not described.signed and read >= 2**described.stored:
        read %= 2**described.stored
    if read != value:
        notes.append(f"{keyword} is written with the wrong sign; it was read as {read:g}")
    return read
