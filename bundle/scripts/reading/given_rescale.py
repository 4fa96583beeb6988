"""Slope and intercept that stand beside a volume, in the table of its data set, and not in its header.

CT-RATE's NIfTI files hold stored values; what turns them into Hounsfield units is in a metadata table. Applied twice,
or not at all, every window would be wrong: a file that carries a scale, or Hounsfield units, already is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scripts.errors import InputError
from scripts.reading.case import CaseImage


def apply_rescale(case: CaseImage, rescale: Sequence[float], *, already: bool) -> None:
    """Turn a case's stored values into ``slope * value + intercept``, in place.

    Args:
        case: as its file has it.
        rescale: slope and intercept.
        already: whether its values look like Hounsfield units.

    Raises:
        InputError: the two are no numbers, or the file's values are scaled already.
    """
    path = case.meta["path"]
    try:
        slope, intercept = (float(value) for value in rescale)
    except (TypeError, ValueError):
        raise InputError(f"{path}: rescale is {rescale!r}; slope and intercept, two numbers, are needed") from None
    if not (np.isfinite([slope, intercept]).all() and slope != 0):
        raise InputError(f"{path}: slope {slope:g} and intercept {intercept:g} are impossible; correct the table")
    if (slope, intercept) == (1.0, 0.0):
        return
    if case.meta["luts"]:
        raise InputError(
            f"{path}: its header has a slope and intercept, and the datalist gives others; remove 'rescale' there"
        )
    if already and intercept <= -500:
        raise InputError(
            f"{path}: its values are Hounsfield units already, the datalist's rescale would shift them; remove it"
        )
    case.pixels = (case.pixels.astype(np.float64) * slope + intercept).astype(np.float32)
    case.meta["luts"] = [f"slope {slope:g} and intercept {intercept:g} of the datalist"]
