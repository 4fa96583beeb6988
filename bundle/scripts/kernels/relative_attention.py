"""Attention with SAM's decomposed relative positions, in little memory.

The score of query (h, w) and key (h', w') is ``scale * q.k + q.R[h - h'] + q.C[w - w']`` with learned tables R and C
(Li et al., MViTv2, CVPR 2022, section 4.1). The dense sum holds N x N numbers a head: 0.8 GB a layer at 1,024 px. Here
scores exist for a few rows of queries at a time, in a buffer that stays in the processor's cache. The result is the
same sum, to rounding.

Shape legend: G groups (images x windows x heads), s the map's side, N = s * s tokens, D head width, L = 2 * s - 1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from scripts.kernels.precision import multiplies_bfloat16

CPU_SCORES = 1 << 19  # numbers in the CPU's score buffer: 2 MB of float32
DEVICE_SCORES = 1 << 26  # likewise on an accelerator, where launches cost more than memory


def attend(query: Tensor, key: Tensor, value: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Mixed values ``[G, N, D]``.

    Args:
        query: ``[G, N, D]``, positions row by row; key and value likewise.
        key: ``[G, N, D]``.
        value: ``[G, N, D]``.
        rows: table R ``[L, D]``; entry ``h - h' + s - 1`` belongs to the offset of query row h and key row h'.
        columns: table C ``[L, D]`` likewise.
    """
    if query.dtype == torch.bfloat16 and query.device.type == "cpu" and not multiplies_bfloat16("cpu"):
        # emulated products of small bfloat16 matrices take ten times as long as these
        return attend(query.float(), key.float(), value.float(), rows.float(), columns.float()).to(query.dtype)
    side = (rows.shape[0] + 1) // 2
    table = torch.cat([rows.flip(0), columns.flip(0)]).to(query.dtype)
    tracked = torch.is_grad_enabled() and any(t.requires_grad for t in (query, key, value, table))
    if tracked or query.device.type != "cpu":
        return _attend_in_groups(query, key, value, table, side)
    if 2 * side < query.shape[2]:
        return _attend_in_windows(query, key, value, table, side)
    return _attend_in_rows(query, key, value, table, side)


def _offset_scores(query: Tensor, table: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Scores of row and of column offsets, each ``[G, s, s, s]``: query row, query column, key row (or column).

    One product gives every query's score at every offset. With the tables flipped, the keys of query row h need the s
    neighbouring offsets that start at ``s - 1 - h``, so both results are views: one step of h moves the start by -1.
    """
    groups, span = query.shape[0], table.shape[0]
    scores = torch.matmul(query, table.t()).view(groups, side, side, span)
    strides = scores.stride()
    first = scores.storage_offset() + side - 1
    shape = (groups, side, side, side)
    down = scores.as_strided(shape, (strides[0], strides[1] - 1, strides[2], 1), first)
    across = scores.as_strided(shape, (strides[0], strides[1], strides[2] - 1, 1), first + span // 2)
    return down, across


def _attend_in_windows(query: Tensor, key: Tensor, value: Tensor, table: Tensor, side: int) -> Tensor:
    """Some groups at a time; the offsets' scores are part of the product, which small maps make cheaper than a sum.

    ``[scale * q | row scores | column scores] . [k | one-hot row | one-hot column]``. Without gradients.
    """
    groups, count, width = query.shape
    step = min(groups, max(1, CPU_SCORES // (count * count)))
    axis = torch.eye(side, dtype=query.dtype)
    places = torch.cat([axis.repeat_interleave(side, dim=1), axis.repeat(1, side)]).expand(step, -1, -1)
    buffer = query.new_empty(step, count, count)
    mixed = torch.empty_like(value)
    for first in range(0, groups, step):
        chunk = slice(first, first + step)
        part = query[chunk]
        offsets = (scores.flatten(1, 2) for scores in _offset_scores(part, table, side))
        wide_query = torch.cat([part * width**-0.5, *offsets], dim=2)
        wide_key = torch.cat([key[chunk].transpose(1, 2), places[: len(part)]], dim=1)
        scores = torch.bmm(wide_query, wide_key, out=buffer[: len(part)])
        torch.softmax(scores, dim=-1, out=scores)
        torch.bmm(scores, value[chunk], out=mixed[chunk])
    return mixed


def _attend_in_rows(query: Tensor, key: Tensor, value: Tensor, table: Tensor, side: int) -> Tensor:
    """A few query rows of one group, or a few whole groups, at a time; in place, so without gradients."""
    groups, count, width = query.shape
    step = min(groups, max(1, CPU_SCORES // (count * count)))
    band = side if step > 1 else min(side, max(1, CPU_SCORES // (count * side)))
    buffer = query.new_empty(step * band * side * count)
    mixed = torch.empty_like(value)
    for first in range(0, groups, step):
        chunk = slice(first, min(first + step, groups))
        # Laid out once here: products would copy views at every band.
        part_query, part_value = query[chunk].contiguous(), value[chunk].contiguous()
        part_key = key[chunk].transpose(1, 2).contiguous()
        down, across = _offset_scores(part_query, table, side)
        size = part_query.shape[0]
        for top in range(0, side, band):
            bottom = min(top + band, side)
            tokens = slice(top * side, bottom * side)
            scores = buffer[: size * (bottom - top) * side * count].view(size, -1, count)
            offsets = scores.view(size, bottom - top, side, side, side)
            torch.add(down[:, top:bottom, :, :, None], across[:, top:bottom, :, None, :], out=offsets)
            scores.baddbmm_(part_query[:, tokens], part_key, alpha=width**-0.5)
            torch.softmax(scores, dim=-1, out=scores)
            torch.bmm(scores, part_value, out=mixed[chunk, tokens])
    return mixed


def _attend_in_groups(query: Tensor, key: Tensor, value: Tensor, table: Tensor, side: int) -> Tensor:
    """As many whole groups at a time as the score budget allows, by PyTorch's fused attention; differentiable."""
    groups, count, _ = query.shape
    step = min(groups, max(1, DEVICE_SCORES // (count * count)))
    mixed = []
    for first in range(0, groups, step):
        chunk = slice(first, first + step)
        down, across = _offset_scores(query[chunk], table, side)
        bias = (down[..., :, None] + across[..., None, :]).view(-1, 1, count, count)
        parts = (tensor[chunk, None] for tensor in (query, key, value))
        mixed.append(F.scaled_dot_product_attention(*parts, attn_mask=bias)[:, 0])
    return torch.cat(mixed)
