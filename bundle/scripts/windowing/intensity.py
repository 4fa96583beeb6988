"""Values -> [0, 1]: linear windows, the DICOM window functions, robust percentiles."""

from __future__ import annotations

from typing import Any

import numpy as np


def apply_window(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """``low`` -> 0, ``high`` -> 1, linear between and clipped outside; float32, same shape."""
    out = values.astype(np.float32)
    out -= np.float32(low)
    out /= np.float32(max(high - low, 1e-12))  # not times 1/width: an 8-bit value v must give exactly v / 255
    return np.clip(out, 0.0, 1.0, out=out)


def apply_voi_window(values: np.ndarray, window: dict[str, Any]) -> np.ndarray:
    """A window of a DICOM file by its function, DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3, scaled to [0, 1]."""
    centre, width = float(window["centre"]), float(window["width"])
    if window.get("function") == "SIGMOID":
        scaled = (values.astype(np.float32) - np.float32(centre)) * np.float32(-4.0 / width)
        return 1.0 / (1.0 + np.exp(np.clip(scaled, -60.0, 60.0)))
    if window.get("function") == "LINEAR_EXACT":
        return apply_window(values, centre - width / 2, centre + width / 2)
    if width <= 1.0:
        return (values > centre - 0.5).astype(np.float32)
    return apply_window(values, centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2)


def robust_range(
    values: np.ndarray, low: float, high: float, keep: np.ndarray | None = None, step: int = 1
) -> tuple[float, float]:
    """The ``low`` and ``high`` percentiles of ``values[keep]``, thinned by ``step``; the extremes if they coincide."""
    sample = values[..., ::step, ::step]
    sample = sample[keep[..., ::step, ::step]] if keep is not None else sample.ravel()
    if sample.size == 0:
        sample = values.ravel()
    bottom, top = (float(v) for v in np.percentile(sample, (low, high)))
    if top <= bottom:
        bottom, top = float(sample.min()), float(sample.max())
    if top <= bottom:
        bottom, top = float(values.min()), float(values.max())
    return bottom, top
