"""Overlays of a caption's words, as values on the slice's pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import CaptioningError
from .words import _

NO_PREFERENCE = 1.02
"""Largest value over mean below which a map says nothing about where."""
HALF = 0.5
"""Share of the peak down to which a map's region reaches: full width at half maximum."""


def words_of(reply: dict[str, Any]) -> list[str]:
    """The words that can be explained; empty without an explanation."""
    return list((reply.get("explanation") or {}).get("words", []))


def names_nothing(reply: dict[str, Any], word: int | None) -> bool:
    """Whether a word, such as "with", names nothing visible: its map is null in every branch."""
    maps = ((reply.get("explanation") or {}).get("maps") or {}).values()
    return word is not None and bool(maps) and all(one[word] is None for one in maps)


def heat(reply: dict[str, Any], shape: tuple[int, int], word: int | None = None) -> np.ndarray:
    """Reliance of a word on each pixel.

    Args:
        reply: of a captioning backend, asked with ``explain``.
        shape: rows and columns of the picture that was captioned.
        word: its index, or None for the mean of all words.

    Returns:
        ``[H, W]`` in [0, 1]: 0 up to the mean of the picture, 1 at the largest value, as the bundle's own overlays;
        0 everywhere where the network looked at all of the picture alike, and for a word that names nothing visible
        ("with", "of"; no map). Branches are weighted by the word's share.

    Raises:
        CaptioningError: the reply explains nothing.
    """
    explanation = reply.get("explanation")
    if not explanation or not explanation["maps"]:
        raise CaptioningError(_("this caption has no explanation: caption again with 'Explain each word' on"))
    resize = _place(reply, shape)
    total = np.zeros(shape)
    for branch, maps in explanation["maps"].items():
        share = explanation["share"][branch]
        wanted = range(len(maps)) if word is None else [word]
        weighted = [np.asarray(maps[one], float) * share[one] for one in wanted if maps[one] is not None]
        if weighted:
            chosen = np.mean(weighted, axis=0)
            total += _on_pixels(chosen * chosen.size, resize, shape)
    mean, peak = total.mean(), total.max()
    if peak <= NO_PREFERENCE * mean:
        return np.zeros(shape)
    return np.clip((total - mean) / (peak - mean), 0, 1)


def drawn_region(reply: dict[str, Any], shape: tuple[int, int], square: np.ndarray) -> np.ndarray:
    """A region that the captioner drew over the network's square, at the picture's pixels.

    Args:
        reply: see :func:`heat`.
        shape: rows and columns of the picture that was captioned.
        square: bool ``[s, s]``.

    Returns:
        bool ``[H, W]``.
    """
    return _on_pixels(square.astype(float), _place(reply, shape), shape) >= HALF


def _place(reply: dict[str, Any], shape: tuple[int, int]) -> dict[str, Any]:
    """How the picture lies in the network's square."""
    resize = reply["resize"]
    if list(resize["from"]) != list(shape):
        raise CaptioningError(_("the caption is of a picture of another size: caption the slice again"))
    return resize


def region(heat: np.ndarray) -> np.ndarray:
    """The part of a map around its peak: the pixels connected to it, side by side, that have half its value or more.

    Args:
        heat: ``[H, W]`` from :func:`heat`.

    Returns:
        bool ``[H, W]``; empty where the map has no peak.
    """
    high = heat >= HALF * heat.max()
    found = np.zeros(heat.shape, bool)
    if heat.max() <= 0:
        return found
    found[np.unravel_index(heat.argmax(), heat.shape)] = True
    while True:
        grown = found.copy()
        for axis in (0, 1):
            for step in (1, -1):
                moved = np.roll(found, step, axis)
                edge = [slice(None)] * 2
                edge[axis] = 0 if step == 1 else -1
                moved[tuple(edge)] = False
                grown |= moved
        grown &= high
        if (grown == found).all():
            return found
        found = grown


def _on_pixels(grid: np.ndarray, resize: dict[str, Any], shape: tuple[int, int]) -> np.ndarray:
    """Bilinear values of a grid over the letterboxed square at the pixels of the picture inside it."""
    sampled = grid
    for axis in (0, 1):
        inside = (np.arange(shape[axis]) + 0.5) * resize["to"][axis] / shape[axis] + resize["offset"][axis]
        place = np.clip(inside / resize["size"] * grid.shape[axis] - 0.5, 0, grid.shape[axis] - 1)
        low = np.minimum(place.astype(int), max(grid.shape[axis] - 2, 0))
        part = place - low
        high = np.minimum(low + 1, grid.shape[axis] - 1)
        part = part[:, None] if axis == 0 else part[None, :]
        sampled = sampled.take(low, axis) * (1 - part) + sampled.take(high, axis) * part
    return sampled
