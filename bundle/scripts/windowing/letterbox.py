"""Letterbox: any image as a square that shows all of it, in its true proportions."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import interpolate, pad

from scripts.errors import InputError

_SQUARE = 0.01
"""Pixels less than this far from square are taken as square."""


def letterbox(image: torch.Tensor, size: int, *, aspect: float = 1.0) -> tuple[torch.Tensor, dict[str, Any]]:
    """Resize so that the longer side fills ``size``, and centre on black.

    Bilinear with antialiasing, so shrinking averages instead of skipping; nothing is cropped. When the rest is odd, the
    extra row or column of padding goes below or to the right.

    Args:
        image: ``[V, 3, H, W]`` in [0, 1].
        size: side of the result.
        aspect: height of a pixel over its width (physical), see `pixel_aspect`.

    Returns:
        ``[V, 3, size, size]`` and what was done: ``from`` and ``to`` ([rows, columns]), ``offset`` (row, column of the
        image's corner), ``size``.
    """
    height, width = image.shape[-2:]
    if size < 1:
        raise InputError(f"image size {size} is impossible; give at least 1")
    tall = height * aspect
    scale = size / max(tall, width)
    rows = min(size, max(1, round(tall * scale)))
    columns = min(size, max(1, round(width * scale)))
    shared = image.stride(1) == 0
    boxed = image[:, :1] if shared else image
    if (rows, columns) != (height, width):
        boxed = interpolate(boxed, size=(rows, columns), mode="bilinear", align_corners=False, antialias=True)
        boxed = boxed.clamp_(0.0, 1.0)
    top, left = (size - rows) // 2, (size - columns) // 2
    boxed = pad(boxed, (left, size - columns - left, top, size - rows - top))
    boxed = boxed.expand(-1, 3, -1, -1).contiguous() if shared else boxed.contiguous()
    return boxed, {"from": [height, width], "to": [rows, columns], "offset": [top, left], "size": size}


def pixel_aspect(meta: dict[str, Any]) -> float:
    """Height of a pixel over its width, 1.0 where the file does not say or says something absurd."""
    pair = meta.get("spacing_mm") or meta.get("pixel_aspect")
    if not pair or min(pair) <= 0:
        return 1.0
    ratio = float(pair[0]) / float(pair[1])
    return ratio if abs(ratio - 1.0) > _SQUARE and 0.02 < ratio < 50 else 1.0
