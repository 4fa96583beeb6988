"""Inverted bottleneck whose wide map exists a band of rows at a time, where that saves memory.

The expanded map of TinyViT's first stage holds 17 million numbers, and three operations would write it and read it
again, each into memory that the system hands out page by page. A band stays in the processor's cache and in memory that
is used over and over. Each output row is the same sum in the same order: results are equal to the last bit.

Shape legend: B images, C input, E expanded and C' output channels, H rows, W columns, s stride.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from scripts.kernels.convolution import ConvNorm
from scripts.kernels.laid_out import is_tracked

BAND = 1 << 22  # numbers of the expanded map at a time: 16 MB of float32


def bottleneck(x: Tensor, expand: ConvNorm, depthwise: ConvNorm, project: ConvNorm) -> Tensor:
    """``project(gelu(depthwise(gelu(expand(x)))))``: ``[B, C, H, W] -> [B, C', H/s, W/s]``.

    Args:
        x: channels last.
        expand: 1 x 1 convolution to E channels.
        depthwise: 3 x 3 convolution a channel, stride s, zeros around.
        project: 1 x 1 convolution to C' channels.
    """
    weights = (expand.conv.weight, depthwise.conv.weight, project.conv.weight)
    wide = expand.conv.out_channels * x.shape[0] * x.shape[3]
    if x.device.type != "cpu" or wide * x.shape[2] <= BAND or is_tracked(x, *weights):
        return project(depthwise(expand(x, "gelu"), "gelu"))
    stride, height = depthwise.conv.stride[0], x.shape[2]
    rows = -(-height // stride)
    step = max(1, BAND // (wide * stride))
    whole = x.new_empty(0)
    for top in range(0, rows, step):
        bottom = min(top + step, rows)
        first, last = top * stride - 1, (bottom - 1) * stride + 1  # the rows that the filter sees, zeros outside
        band = expand(x[:, :, max(first, 0) : last + 1], "gelu")
        above, below = int(first < 0), int(last >= height)
        if above or below:
            band = F.pad(band, (0, 0, above, below))
        part = project(depthwise(band, "gelu", pad_rows=False))
        if top == 0:
            size = (x.shape[0], part.shape[1], rows, part.shape[3])
            whole = torch.empty(size, dtype=part.dtype, memory_format=torch.channels_last)
        whole[:, :, top:bottom] = part
    return whole
