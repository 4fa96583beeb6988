"""`CaseImage`: an image as it was stored, with the story of how it was read.

Legend of shapes: ``V`` views (slices, frames or files of one case), ``C`` channels (1 grey, 3 red-green-blue), ``H``
rows from top to bottom, ``W`` columns from left to right as a radiologist sees them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scripts.errors import InputError

MIN_SIDE = 16
"""Rows or columns below this are refused: nothing can be described in them."""
MAX_PIXELS = 2**26
"""Pixels of one picture, frame or slice above this are refused (67 megapixels; film scans stay below)."""
MAX_BYTES = 3 * 2**28
"""Bytes that one case may take as float32, and one volume as it is stored (768 MiB)."""
MIN_FINITE = 0.01
"""A view with a smaller share of finite values is refused; otherwise the gaps take its smallest finite value."""


@dataclass
class CaseImage:
    """One case: ``pixels`` float32 ``[V, C, H, W]`` in stored physical units, and ``meta``, plain Python values.

    ``meta`` always has: ``path``, ``reader``, ``modality`` (DICOM code, "" where unknown), ``kind`` ("dicom", "volume"
    or "picture"), ``units`` ("HU", "display" for values that are ready to be shown, else "stored"), ``value_range``
    (smallest and largest value that the storage allows, for "display"), ``channels``, ``slice`` and ``frame`` (list of
    what was chosen, or None), ``orientation``, ``spacing_mm`` ([row, column] or None), ``luts`` (what was applied, in
    order), ``series`` (or None), ``acquisition`` (of `acquisition_of`), ``notes`` (sentences). Nothing in it names
    a person.
    """

    pixels: np.ndarray
    meta: dict[str, Any] = field(default_factory=dict)


def base_meta(path: str | Path, reader: str, kind: str) -> dict[str, Any]:
    """The fields that every reader fills, at their neutral values."""
    return {
        "path": str(path), "reader": reader, "kind": kind, "modality": "", "modality_source": "", "body_part": "",
        "units": "stored", "value_range": None, "channels": 1, "slice": None, "frame": None, "orientation": None,
        "spacing_mm": None, "luts": [], "voi": [], "invert_display": False, "padding": None, "series": None,
        "window_hint": "", "acquisition": {}, "notes": [],
    }  # fmt: skip


def finish_case(views: list[np.ndarray], meta: dict[str, Any]) -> CaseImage:
    """Views ``[C, H, W]`` of equal shape -> checked `CaseImage`; gaps (NaN, infinity) filled and noted.

    Raises:
        InputError: a view is too small, holds (almost) no finite value, or all views are constant.
    """
    path = meta["path"]
    height, width = views[0].shape[-2:]
    check_size(path, height, width)
    filled = [_fill_gaps(view, meta) if view.dtype.kind == "f" else view for view in views]
    if all(_is_constant(view) for view in filled):
        raise InputError(f"{path}: every pixel has the same value, so there is nothing to describe; give another image")
    if len(filled) == 1:
        pixels = np.ascontiguousarray(filled[0], dtype=np.float32)[None]
    else:
        pixels = np.stack(filled, dtype=np.float32, casting="unsafe")
    meta["channels"] = int(pixels.shape[1])
    return CaseImage(pixels, meta)


def check_size(path: str | Path, height: int, width: int) -> None:
    """Refuse sides below `MIN_SIDE` and pictures above `MAX_PIXELS`; call it before anything is decoded."""
    if height < MIN_SIDE or width < MIN_SIDE:
        raise InputError(f"{path}: the image is {width} x {height} pixels; at least {MIN_SIDE} a side are needed")
    if height * width > MAX_PIXELS:
        raise InputError(f"{path}: the image is {width} x {height} pixels, over {MAX_PIXELS} in all; reduce it first")


def check_bytes(path: str | Path, count: int) -> None:
    """Refuse a choice of views whose decoded bytes would not fit; the remedy is to choose fewer."""
    if count > MAX_BYTES:
        raise InputError(
            f"{path}: would take {count / 2**20:,.0f} MiB of memory, over {MAX_BYTES >> 20}; choose fewer slices"
        )


def _is_constant(view: np.ndarray) -> bool:
    first = view.flat[0]
    return bool(view.flat[-1] == first and view.min() == view.max())


def _fill_gaps(view: np.ndarray, meta: dict[str, Any]) -> np.ndarray:
    """Replace non-finite values by the smallest finite one, saying so; float views only."""
    low, high = view.min(), view.max()
    if np.isfinite(low) and np.isfinite(high) and max(abs(low), abs(high)) < 1e30:
        return view
    finite = np.isfinite(view) & (np.abs(view) < 1e30)
    share = float(finite.mean())
    if share < MIN_FINITE:
        raise InputError(f"{meta['path']}: {1 - share:.0%} of its values are not numbers (NaN); export it again")
    meta["notes"].append(f"{int((~finite).sum())} values were not numbers and took the smallest finite value")
    return np.where(finite, view, view[finite].min()).astype(np.float32)
