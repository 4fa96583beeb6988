"""`window_image`: a case's stored values -> three channels in [0, 1], and what was done."""

from __future__ import annotations

from typing import Any

import numpy as np

from scripts.errors import InputError
from scripts.windowing.bias_field import correct_bias
from scripts.windowing.ct import auto_ct
from scripts.windowing.intensity import apply_voi_window, apply_window, robust_range
from scripts.windowing.presets import COMPOSITES, Window, ct_window
from scripts.windowing.projection import window_projection

Description = dict[str, Any]
PROJECTIONS = ("XR", "MG", "XA", "RF")
AS_IT_IS = ("US", "IVUS", "ES", "GM", "XC", "OP", "SM", "OT", "OCT", "IVOCT", "OPT", "DOC")
MR_PERCENTILES = (1.0, 99.0)


def window_image(
    pixels: np.ndarray, meta: dict[str, Any], window: str | tuple[float, float] | dict[str, Any] = "auto"
) -> tuple[np.ndarray, Description]:
    """Window a case.

    Args:
        pixels: ``[V, C, H, W]`` of `scripts.reading.CaseImage`.
        meta: its meta.
        window: "auto" (by modality, see below), "file" (the file's own VOI window), a CT preset's name, "composite" or
            "composite_head" (three windows as three channels), three names joined by "+", "centre/width" or a pair in
            stored units (HU for CT), "percentiles" or "percentiles:1,99", "n4" (MR: bias field correction, then
            percentiles), or "none" (storage range as it is).

    Returns:
        ``[V, 3, H, W]`` float32 in [0, 1] (of a grey image a read-only view: three channels that share memory; copy it
        to write to it) and a description: ``name``, ``text`` (one line for people), and ``low`` and
        ``high`` or ``channels`` where there are such.

    "auto": 8-bit pictures, colour and ultrasound are divided by their largest possible value; CT takes the file's
    window, body part or HU statistics (`scripts.windowing.ct`); X-ray its VOI, then percentiles inside the collimation
    (`scripts.windowing.projection`); MR and all else the 1st to 99th percentile of the chosen slices together.

    Raises:
        InputError: the window is unknown, or is a CT preset for an image that has no Hounsfield units.
    """
    shown, description = window_channels(pixels, meta, window)
    if shown.shape[1] == 1:
        shown = np.broadcast_to(shown, (shown.shape[0], 3, *shown.shape[2:]))
    return shown, description


def window_channels(pixels: np.ndarray, meta: dict[str, Any], window: Any = "auto") -> tuple[np.ndarray, Description]:
    """`window_image` without the copies: ``[V, 1, H, W]`` where the three channels would be equal."""
    path = str(meta.get("path", "image"))
    if pixels.ndim != 4 or pixels.shape[1] not in (1, 3):
        raise InputError(f"{path}: has the shape {tuple(pixels.shape)}; [views, 1 or 3, rows, columns] is needed")
    own = meta.get("voi_of_views")
    if own and window in ("auto", "file") and len(own) == len(pixels):
        shown, description = _each_by_its_own(pixels, meta, window, path)
    else:
        shown, description = _by_request(pixels, meta, window, path)
    if meta.get("invert_display"):
        shown = 1.0 - shown
        description["text"] += ", MONOCHROME1 inverted"
    return shown, description


def _each_by_its_own(
    pixels: np.ndarray, meta: dict[str, Any], window: str, path: str
) -> tuple[np.ndarray, Description]:
    """Views whose frames have windows of their own, each with its window; the description is the first view's."""
    done = [
        _by_request(pixels[k : k + 1], {**meta, "voi": voi}, window, path) for k, voi in enumerate(meta["voi_of_views"])
    ]
    description = dict(done[0][1])
    description["text"] += "; the other views by their own windows"
    return np.concatenate([shown for shown, _ in done]), description


def _by_request(pixels: np.ndarray, meta: dict[str, Any], window: Any, path: str) -> tuple[np.ndarray, Description]:
    if isinstance(window, (tuple, list)) and len(window) == 2:
        return _custom(pixels, float(window[0]), float(window[1]), meta, path)
    if not isinstance(window, str):
        raise InputError(f"{path}: window {window!r} is not understood; give a name or 'centre/width'")
    word = window.strip().lower()
    if word == "auto":
        return _auto(pixels, meta)
    if word == "none":
        return _as_it_is(pixels, meta)
    if word == "file":
        return _file_window(pixels, meta, path)
    if word == "n4":
        return _n4(pixels, meta, path)
    if word.startswith("percentiles"):
        return _percentiles(pixels, meta, _percentile_pair(word, path))
    if "/" in word:
        try:
            centre, width = (float(part) for part in word.split("/"))
        except ValueError:
            raise InputError(f"{path}: window {window!r} is not 'centre/width', two numbers") from None
        return _custom(pixels, centre, width, meta, path)
    names = COMPOSITES.get(word) or (tuple(word.split("+")) if "+" in word else None)
    chosen = [ct_window(name.strip(), path) for name in names] if names else [ct_window(word, path)]
    _need_hounsfield(meta, word, path)
    if names and len(names) != 3:
        raise InputError(f"{path}: window {window!r} joins {len(names)} windows; three make the three channels")
    return _presets(pixels, chosen, word)


def _auto(pixels: np.ndarray, meta: dict[str, Any]) -> tuple[np.ndarray, Description]:
    modality = meta.get("modality", "")
    if meta.get("units") == "display" or pixels.shape[1] == 3:
        return _as_it_is(pixels, meta)
    if meta.get("units") == "HU":
        chosen = auto_ct(pixels, meta)
        return _presets(pixels, [chosen.window], "auto", reason=chosen.reason)
    if modality in PROJECTIONS:
        return window_projection(pixels, meta)
    if (modality in AS_IT_IS or modality == "CT") and meta.get("voi"):
        return _file_window(pixels, meta, str(meta.get("path", "image")))
    return _percentiles(pixels, meta, MR_PERCENTILES)


def _presets(pixels: np.ndarray, chosen: list[Window], name: str, reason: str = "") -> tuple[np.ndarray, Description]:
    bands = [apply_window(pixels[:, :1], w.low, w.high) for w in chosen]
    settings = [f"{w.name or 'window'} {w.centre:g}/{w.width:g} HU" for w in chosen]
    text = " + ".join(settings) + (f" ({reason})" if reason else "")
    described: Description = {"name": chosen[0].name if len(chosen) == 1 else name, "asked": name, "text": text,
                              "centre": chosen[0].centre, "width": chosen[0].width}  # fmt: skip
    if reason:
        described["reason"] = reason
    if len(chosen) == 1:
        return bands[0], described
    described["channels"] = settings
    return np.concatenate(bands, axis=1), described


def _need_hounsfield(meta: dict[str, Any], name: str, path: str) -> None:
    unknown_volume = meta.get("kind") == "volume" and meta.get("modality", "") == ""
    if meta.get("units") != "HU" and not unknown_volume:
        what = meta.get("modality") or meta.get("kind") or "image"
        raise InputError(f"{path}: window {name!r} is in Hounsfield units, which this {what} does not have; use 'auto'")


def _custom(
    pixels: np.ndarray, centre: float, width: float, meta: dict[str, Any], path: str
) -> tuple[np.ndarray, Description]:
    if not (np.isfinite(centre) and np.isfinite(width) and width > 0):
        raise InputError(f"{path}: window {centre:g}/{width:g} is impossible; the width must be above 0")
    unit = " HU" if meta.get("units") == "HU" else ""
    described = {"name": "custom", "asked": f"{centre:g}/{width:g}", "text": f"window {centre:g}/{width:g}{unit}",
                 "centre": centre, "width": width}  # fmt: skip
    return apply_window(pixels, centre - width / 2, centre + width / 2), described


def _file_window(pixels: np.ndarray, meta: dict[str, Any], path: str) -> tuple[np.ndarray, Description]:
    windows = meta.get("voi") or []
    if not windows:
        raise InputError(f"{path}: has no window of its own; use 'auto' or 'centre/width'")
    first = windows[0]
    text = f"the file's window {first['centre']:g}/{first['width']:g} ({first['function']})"
    return apply_voi_window(pixels, first), {"name": "file", "asked": "file", "text": text, "centre": first["centre"],
                                             "width": first["width"]}  # fmt: skip


def _as_it_is(pixels: np.ndarray, meta: dict[str, Any]) -> tuple[np.ndarray, Description]:
    """Divide by what the storage allows; without such a range (float), by the extremes."""
    span = meta.get("value_range")
    low, high = (float(span[0]), float(span[1])) if span else (float(pixels.min()), float(pixels.max()))
    return apply_window(pixels, low, high), {"name": "none", "asked": "auto", "text": f"as stored, {low:g} to {high:g}",
                                             "low": low, "high": high}  # fmt: skip


def _n4(pixels: np.ndarray, meta: dict[str, Any], path: str) -> tuple[np.ndarray, Description]:
    unknown_volume = meta.get("kind") == "volume" and meta.get("modality", "") == ""
    if pixels.shape[1] != 1 or not (meta.get("modality") == "MR" or unknown_volume):
        raise InputError(f"{path}: is not MR, so window 'n4' does not apply; use 'auto'")
    shown, described = _percentiles(correct_bias(pixels, path), meta, MR_PERCENTILES)
    return shown, {**described, "name": "n4", "asked": "n4", "text": "N4 bias field correction, " + described["text"]}


def _percentile_pair(word: str, path: str) -> tuple[float, float]:
    try:
        low, high = (float(v) for v in word.partition(":")[2].split(",")) if ":" in word else MR_PERCENTILES
    except ValueError:
        raise InputError(f"{path}: window {word!r} is not 'percentiles:LOW,HIGH'") from None
    if not 0 <= low < high <= 100:
        raise InputError(f"{path}: window {word!r} is impossible; 0 <= LOW < HIGH <= 100 is needed")
    return low, high


def _percentiles(pixels: np.ndarray, meta: dict[str, Any], pair: tuple[float, float]) -> tuple[np.ndarray, Description]:
    padding = meta.get("padding")
    keep = (pixels < padding[0]) | (pixels > padding[1]) if padding else None
    low, high = robust_range(pixels, *pair, keep=keep)
    text = f"percentiles {pair[0]:g} to {pair[1]:g} ({low:g} to {high:g})"
    described = {"name": "percentiles", "asked": "auto", "text": text, "low": low, "high": high}
    return apply_window(pixels, low, high), described
