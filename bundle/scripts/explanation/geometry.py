"""Geometry of maps: from the letterboxed square back to the rows and columns of the image as it was read.

The letterbox resized an image ``from`` [rows, columns] ``to`` [rows, columns] and put it at ``offset`` (row, column) in
a square of side ``size`` (`scripts.windowing.letterbox`). Pixel centres map linearly, so undoing it is one sampling.

Shape legend: H x W the image as read, h x w a grid over the square.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from scripts.reading.image_meta import ImageMeta


def content_box(resize: Mapping[str, Any], size: int | None = None) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of the image in a square of side ``size`` (the letterbox's own if None), in pixels."""
    (rows, columns), (top, left) = resize["to"], resize["offset"]
    scale = (size or resize["size"]) / resize["size"]
    return round(top * scale), round(left * scale), round((top + rows) * scale), round((left + columns) * scale)


def to_source(maps: Tensor, resize: Mapping[str, Any]) -> Tensor:
    """Values ``[..., h, w]`` over the square, sampled bilinearly at the pixels of the image as read: ``[..., H, W]``.

    Values are kept (a map of densities no longer sums to 1); beyond the centres of the outer cells the edge holds.

    Args:
        maps: floating point, over the whole square, padding included.
        resize: what `letterbox` recorded (``image_meta["resize"]``).
    """
    height, width = resize["from"]
    rows = _centres(height, resize["to"][0], resize["offset"][0], resize["size"])
    columns = _centres(width, resize["to"][1], resize["offset"][1], resize["size"])
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    grid = (2 * torch.stack([x, y], dim=-1) - 1)[None].to(maps.device, maps.dtype)
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    sampled = F.grid_sample(
        flat, grid.expand(len(flat), -1, -1, -1), mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled.reshape(*maps.shape[:-2], height, width)


def _centres(length: int, resized: int, offset: int, size: int) -> Tensor:
    """Where the centres of ``length`` source pixels lie along the square, as fractions of its side."""
    return ((torch.arange(length) + 0.5) / length * resized + offset) / size


def file_of_view(meta: Mapping[str, Any], view: int) -> tuple[Mapping[str, Any], int]:
    """The meta of the file that view ``view`` of a case came from, and the view's place among that file's views."""
    known = ImageMeta.of_record(meta)
    for one, count in zip(known.views, known.counts(), strict=True):
        if view < count:
            return one, view
        view -= count
    raise IndexError("the case has no such view")
