"""X-ray (plain film, mammography, angiography, fluoroscopy): the file's VOI, then percentiles inside collimation."""

from __future__ import annotations

from typing import Any

import numpy as np

from scripts.windowing.intensity import apply_voi_window, apply_window, robust_range

PERCENTILES = (0.5, 99.5)
_MIN_SPREAD = 0.1
"""A VOI window that squeezes the picture into less than this share of the grey scale is not used."""


def window_projection(pixels: np.ndarray, meta: dict[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
    """``[V, 1, H, W]`` -> the same shape in [0, 1], and a description.

    Statistics leave out the collimation border (`inside_collimation`) and padding.
    """
    keep = inside_collimation(pixels)
    padding = meta.get("padding")
    if padding:
        keep &= (pixels < padding[0]) | (pixels > padding[1])
    step = max(1, max(pixels.shape[-2:]) // 512)
    text = ""
    for window in (meta.get("voi") or [])[:1]:
        shown = apply_voi_window(pixels, window)
        low, high = robust_range(shown, *PERCENTILES, keep=keep, step=step)
        if high - low >= _MIN_SPREAD:
            pixels, text = shown, f"the file's window {window['centre']:g}/{window['width']:g}, then "
    low, high = robust_range(pixels, *PERCENTILES, keep=keep, step=step)
    share = float(keep.mean())
    pair = "{:g} to {:g}".format(*PERCENTILES)
    text += f"percentiles {pair} ({low:.4g} to {high:.4g}) of {share:.0%} of the picture"
    described = {"name": "projection", "asked": "auto", "text": text, "low": low, "high": high}
    return apply_window(pixels, low, high), described


def inside_collimation(pixels: np.ndarray) -> np.ndarray:
    """Bool mask, shape of ``pixels``: False in border bands of (nearly) one value.

    A row or column belongs to the border while, from the edge inwards, its values spread (5th to 95th percentile) over
    less than 2 % of the picture's range. Borders that would leave less than a quarter of the picture are not believed.
    """
    keep = np.ones(pixels.shape, dtype=bool)
    for view, mask in zip(pixels[:, 0], keep[:, 0], strict=True):
        span = float(view.max() - view.min())
        top, bottom = _border(view, span, axis=1)
        left, right = _border(view, span, axis=0)
        if (bottom - top) * (right - left) >= 0.25 * view.size:
            mask[:] = False
            mask[top:bottom, left:right] = True
    return keep


def _border(view: np.ndarray, span: float, axis: int) -> tuple[int, int]:
    """First and one-past-last line along the other axis that is not border."""
    step = max(1, view.shape[axis] // 256)
    thin = view[:, ::step] if axis == 1 else view[::step, :]
    low, high = np.percentile(thin, (5, 95), axis=axis)
    busy = np.flatnonzero(high - low >= 0.02 * span)
    return (int(busy[0]), int(busy[-1]) + 1) if busy.size else (0, view.shape[1 - axis])
