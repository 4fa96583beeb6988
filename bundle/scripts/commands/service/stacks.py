"""Slices as they were stored, for a page that windows them itself: scrolling and dragging then ask for little.

Legend: V slices or frames, C channels (1 or 3), H rows, W columns.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np

from scripts.reading import read_case
from scripts.windowing.letterbox import pixel_aspect
from scripts.windowing.presets import CT_PRESETS

MAX_BYTES = 2**29


@dataclass(frozen=True)
class Stack:
    """All slices of an image in one plane.

    Attributes:
        pixels: ``[V, C, H, W]`` uint8, int16 or float32, without loss.
        meta: of the reader.
        along: "slice", "frame", or "" where there is one picture.
    """

    pixels: np.ndarray
    meta: dict[str, Any]
    along: str

    def describe(self) -> dict[str, Any]:
        """What a page needs to show it."""
        count, channels, rows, columns = self.pixels.shape
        low, high = _range(self.meta, self.pixels)
        units = self.meta.get("units", "stored")
        return {
            "count": count, "channels": channels, "rows": rows, "columns": columns, "along": self.along,
            "type": self.pixels.dtype.name, "low": low, "high": high, "units": units,
            "aspect": pixel_aspect(self.meta), "inverted": bool(self.meta.get("invert_display")),
            "plane": (self.meta.get("orientation") or {}).get("plane"), "modality": self.meta.get("modality") or None,
            "spacing_mm": self.meta.get("spacing_mm"),
            "presets": [{"name": n, "centre": w.centre, "width": w.width} for n, w in CT_PRESETS.items()]
            if units == "HU" else [],
        }  # fmt: skip


class Stacks:
    """The stacks that were looked at last, up to `MAX_BYTES`."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], Stack] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: str, plane: str) -> Stack:
        """A stack, read at the first call.

        Raises:
            InputError: the image cannot be read, or all of it is too much.
        """
        key = (path, plane)
        with self._lock:  # one at a time: a volume may take 768 MiB while it is read
            if key not in self._kept:
                self._kept[key] = open_stack(path, plane)
                while len(self._kept) > 1 and sum(s.pixels.nbytes for s in self._kept.values()) > MAX_BYTES:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]


def open_stack(path: str, plane: str = "auto") -> Stack:
    """Read all slices of a volume, or all frames of a cine; of anything else the one picture.

    Raises:
        InputError: it cannot be read, or all of it is too much.
    """
    one = read_case(path, plane=plane)
    if one.meta.get("slice") is not None:
        case, along = read_case(path, plane=plane, slice="all"), "slice"
    elif one.meta.get("frame") is not None:
        case, along = read_case(path, plane=plane, frame="all"), "frame"
    else:
        case, along = one, ""
    return Stack(_small(case.pixels), case.meta, along if len(case.pixels) > 1 else "")


def _small(pixels: np.ndarray) -> np.ndarray:
    """The same values in the smallest of uint8, int16 and float32 that holds them."""
    low, high = float(pixels.min()), float(pixels.max())
    for kind in (np.uint8, np.int16):
        limits = np.iinfo(kind)
        if limits.min <= low and high <= limits.max:
            small = pixels.astype(kind)
            if np.array_equal(small, pixels):
                return small
    return np.ascontiguousarray(pixels, dtype="<f4")


def _range(meta: dict[str, Any], pixels: np.ndarray) -> tuple[float, float]:
    span = meta.get("value_range") if meta.get("units") == "display" or pixels.shape[1] == 3 else None
    low, high = span if span else (pixels.min(), pixels.max())
    return float(low), float(high)
