"""Automatic choice of a CT window.

In this order: a window in the file that shows something of the slice, what the description or body part asks for, and
what the Hounsfield values say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from scripts.windowing.presets import CT_PRESETS, Window

_OF_PART = {
    "head": "brain", "brain": "brain", "neck": "soft_tissue", "chest": "mediastinum", "abdomen": "abdomen",
    "pelvis": "abdomen", "spine": "spine", "extremity": "bone", "breast": "mediastinum",
}  # fmt: skip
_STEP = 4
"""Pixels skipped in the statistics: a 512 x 512 slice gives 16,384 samples."""


@dataclass(frozen=True)
class Choice:
    """A window and why it was taken."""

    window: Window
    reason: str


def auto_ct(pixels: np.ndarray, meta: dict[str, Any]) -> Choice:
    """The window for slices ``[V, 1, H, W]`` in HU."""
    sample = pixels[:, 0, ::_STEP, ::_STEP]
    padding = meta.get("padding")
    if padding:
        sample = sample[(sample < padding[0]) | (sample > padding[1])]
    body = sample[sample > -950]
    for own in meta.get("voi") or []:
        window = Window(own["centre"], own["width"], "file")
        if _shows_something(body, window):
            return Choice(window, "the file's own window")
    if meta.get("window_hint") in CT_PRESETS:
        return Choice(CT_PRESETS[meta["window_hint"]], "the series' description")
    if meta.get("body_part") in _OF_PART:
        return Choice(CT_PRESETS[_OF_PART[meta["body_part"]]], "the body part")
    return _by_values(body)


def _shows_something(body: np.ndarray, window: Window) -> bool:
    """A usable window separates values: at least 5 % of what is not air lie strictly inside it."""
    if body.size == 0 or not 1 < window.width <= 20_000:
        return False
    return bool(((body > window.low) & (body < window.high)).mean() >= 0.05)


def _by_values(body: np.ndarray) -> Choice:
    """Shares of lung, fat, soft tissue and bone among what is not air."""
    if body.size == 0:
        return Choice(CT_PRESETS["soft_tissue"], "nothing but air in the slice")
    lung = float(((body > -950) & (body < -500)).mean())
    fat = float(((body > -150) & (body < -30)).mean())
    soft = float(((body >= 0) & (body < 100)).mean())
    bone = float((body > 300).mean())
    if lung > 0.25:
        return Choice(CT_PRESETS["lung"], f"{lung:.0%} of the tissue is lung")
    if bone > 0.08 and fat < 0.12 and soft > 0.35:
        return Choice(CT_PRESETS["brain"], f"{bone:.0%} bone, {soft:.0%} soft tissue, little fat: a head")
    if bone > 0.35:
        return Choice(CT_PRESETS["bone"], f"{bone:.0%} of the tissue is bone")
    return Choice(CT_PRESETS["soft_tissue"], f"{soft:.0%} soft tissue, {fat:.0%} fat")
