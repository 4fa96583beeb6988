"""Occlusion: parts of an image are blurred away, a question to the network that needs no trust in any map.

Shape legend: S side of the letterboxed square.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Box = tuple[int, int, int, int]
"""(top, left, bottom, right) in pixels of the square; bottom and right lie outside."""


def tiles_of(content: Box, side: int) -> list[Box]:
    """``side`` x ``side`` rectangles of one size, row by row, spread over the content without overlap.

    Where the content does not divide evenly, gaps of a pixel stay between them.
    """
    rows, columns = (content[2] - content[0]) // side, (content[3] - content[1]) // side
    tops = np.linspace(content[0], content[2] - rows, side).round().astype(int).tolist()
    lefts = np.linspace(content[1], content[3] - columns, side).round().astype(int).tolist()
    return [(top, left, top + rows, left + columns) for top in tops for left in lefts]


def best_tile(heat: Tensor, tiles: Sequence[Box]) -> int:
    """Which tile holds most of a map ``[S, S]``."""
    held = [float(heat[top:bottom, left:right].sum()) for top, left, bottom, right in tiles]
    return int(np.argmax(held))


def blurred(image: Tensor, share: float = 0.08) -> Tensor:
    """``[3, S, S]`` blurred by a Gaussian of standard deviation ``share`` of S: brightness stays, detail goes."""
    sigma = share * image.shape[-1]
    radius = min(int(2.5 * sigma), image.shape[-1] - 1)
    steps = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-0.5 * (steps / sigma) ** 2)
    kernel = kernel / kernel.sum()
    channels = image.shape[0]
    padded = F.pad(image[None], (radius,) * 4, mode="reflect")
    across = F.conv2d(padded, kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    return F.conv2d(across, kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)[0]


def hidden(image: Tensor, boxes: Sequence[Box], fill: Tensor) -> Tensor:
    """Copies ``[len(boxes), 3, S, S]`` of an image, in each of which one rectangle shows ``fill`` ``[3, S, S]``."""
    copies = image[None].repeat(len(boxes), 1, 1, 1)
    for copy, (top, left, bottom, right) in zip(copies, boxes, strict=True):
        copy[:, top:bottom, left:right] = fill[:, top:bottom, left:right]
    return copies
