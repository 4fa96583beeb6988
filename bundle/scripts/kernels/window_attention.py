"""Attention within many small windows that share one bias, fast on a CPU.

PyTorch's fused attention multiplies the scores of each window and head on its own: thousands of products of 49 x 32
numbers, whose set-up takes longer than they do. Here some windows at a time are one batch of products in a buffer that
stays in the processor's cache. The result is the same sum, to rounding.

Shape legend: n windows, E heads, N tokens in a window, D head width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from scripts.kernels.laid_out import is_tracked

SCORES = 1 << 19  # numbers in the buffer: 2 MB of float32


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """``softmax(query key^T / sqrt(D) + bias) value``, heads side by side: ``[n, N, E * D]``.

    Args:
        query: ``[n, E, N, D]``; key and value likewise.
        key: ``[n, E, N, D]``.
        value: ``[n, E, N, D]``.
        bias: ``[E, N, N]``, added to every window's scores.
    """
    bias = bias.to(query.dtype)
    if query.device.type != "cpu" or is_tracked(query, key, value, bias):
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias[None])
        return mixed.transpose(1, 2).flatten(2)
    return _attend_in_chunks(query, key, value, bias)


def _attend_in_chunks(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    windows, heads, count, width = query.shape
    step = min(windows, max(1, SCORES // (heads * count * count)))
    buffer = query.new_empty(step, heads, count, count)
    mixed = value.new_empty(windows, count, heads, width)
    for first in range(0, windows, step):
        chunk = slice(first, first + step)
        part_query, part_key, part_value = (tensor[chunk].flatten(0, 1) for tensor in (query, key, value))
        scores = buffer[: len(query[chunk])].copy_(bias).flatten(0, 1)
        scores.baddbmm_(part_query, part_key.transpose(1, 2), alpha=width**-0.5)
        torch.softmax(scores, dim=-1, out=scores)
        mixed[chunk] = torch.bmm(scores, part_value).unflatten(0, (-1, heads)).transpose(1, 2)
    return mixed.flatten(2)
