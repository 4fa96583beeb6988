"""Rescale slope and intercept of a frame: stored values -> the units that they stand for (PS3.3 C.11.1).

Rules
    * The frame's own values come first, then those that all frames share, then those of the data set.
    * A value that is there is read, whatever its VR and with a decimal comma too, or the image is refused. It never
      counts as absent: without its intercept a CT would be off by 1,024 without a word.
    * Slope without intercept: intercept 0. Intercept without slope: slope 1. Both are noted, and neither alone makes
      Hounsfield units.
    * Slope 0 would give every pixel one value. It is refused, unless the stored values are all equal anyway, as they
      are in the empty slices of PET series.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pydicom

from scripts.errors import InputError
from scripts.reading.dicom.attributes import UNREADABLE, item, numbers, remark_on, safe, word

_LARGEST = 1e30
"""Beyond this, float32 pixels overflow."""


@dataclass(frozen=True)
class Rescale:
    """``complete``: the file states slope and intercept; ``kind`` is its RescaleType, "" where it has none."""

    slope: float = 1.0
    intercept: float = 0.0
    complete: bool = False
    kind: str = ""
    notes: list[str] = field(default_factory=list)


def rescale_of(dataset: pydicom.Dataset, index: int, name: str) -> Rescale | None:
    """The rescale of a frame, None where the file has none.

    Raises:
        InputError: a value is there and is no number.
    """
    holder = functional(dataset, index, "PixelValueTransformationSequence") or dataset
    notes: list[str] = []
    slope = _stated(holder, "RescaleSlope", name, notes)
    intercept = _stated(holder, "RescaleIntercept", name, notes)
    if slope is None and intercept is None:
        return None
    if slope is None:
        notes.append("the file has a rescale intercept and no slope; slope 1 was assumed")
    if intercept is None:
        notes.append("the file has a rescale slope and no intercept; intercept 0 was assumed")
    complete = slope is not None and intercept is not None
    kind = word(holder, "RescaleType")
    return Rescale(1.0 if slope is None else slope, intercept or 0.0, complete, kind, notes)


def _stated(holder: pydicom.Dataset, keyword: str, name: str, notes: list[str]) -> float | None:
    remark = remark_on(holder, keyword)
    values = numbers(holder, keyword)
    if remark == UNREADABLE or (values and abs(values[0]) > _LARGEST):
        raise InputError(
            f"{name}: its {keyword} is there but is no number that can be used; correct it or export again"
        )
    if not values:
        return None
    value = values[0]
    if remark == "written as US" and keyword == "RescaleIntercept" and value >= 2**15:
        value -= 2**16  # the VR has no sign, the intercept of 16 bits has one
    if remark:
        notes.append(f"{keyword} is {remark}; it was read as {value:g}")
    if any(other != values[0] for other in values[1:]):
        notes.append(f"{keyword} has {len(values)} values; the first, {value:g}, was taken")
    return value


def functional(dataset: pydicom.Dataset, index: int, keyword: str) -> pydicom.Dataset | None:
    """First item of a functional group: the frame's own, else the one that all frames share, else None."""
    groups = safe(dataset, "PerFrameFunctionalGroupsSequence")
    try:
        own = item(groups[index], keyword) if groups is not None and index < len(groups) else None
    except (TypeError, IndexError):
        own = None
    if own is not None:
        return own
    shared = item(dataset, "SharedFunctionalGroupsSequence")
    return item(shared, keyword) if shared is not None else None
