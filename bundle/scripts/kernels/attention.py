"""Attention with dropout on its weights, quick and small for the backward pass on a CPU.

PyTorch's fused attention has no dropout on CPUs: it falls back to float32 products and keeps the scores, their softmax
and a float mask. Here one number per weight is kept, whose sign says whether it was dropped, and a block of rows whose
scores fit the processor's cache goes through all steps before the next does. On other devices, or without dropout,
this is PyTorch's own attention.

Shape legend: ``...`` batch and heads, L all of these in a row, S queries, N keys, d width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F

from scripts.kernels.dropout import kept_share, mark_dropped

_BLOCK = 2**21  # weights at a time: a few MiB, which a processor's last cache holds together with what they come from


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    *,
    dropout: float = 0.0,
    scale: float | None = None,
) -> Tensor:
    """``softmax(query key^T * scale) value``: ``[..., S, d]`` from ``[..., S, d]`` and ``[..., N, d]``.

    Args:
        mask: bool, broadcastable to ``[..., S, N]``, True where a row may see a column; every row sees something.
        dropout: share of the weights that is dropped; the others grow to make up for it.
        scale: ``d ** -0.5`` by default.
    """
    if not dropout or query.device.type != "cpu":
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout, scale=scale)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    same = value is key
    key = key.to(query.dtype)
    value = key if same else value.to(query.dtype)
    # All in the type of the query. Autocast would make float32 of weights that are rounded to bfloat16 again; products
    # and softmax sum in float32 without it.
    with torch.autocast("cpu", enabled=False):
        return _DroppingAttention.apply(query, key, value, mask, dropout, scale)


def autocast_type(device: torch.device) -> torch.dtype | None:
    """The type that products have under the autocast around us, None where there is none."""
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None


class _DroppingAttention(torch.autograd.Function):
    """Its products are of three dimensions, ``[L, S, d]``, a block of L at a time."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float, scale: float
    ) -> Tensor:
        lead = torch.broadcast_shapes(query.shape[:-2], key.shape[:-2])
        rows, columns = query.shape[-2], key.shape[-2]
        mask = None if mask is None else _stacked(~mask.expand(*lead, rows, columns), lead)
        queries, keys, values = _stacked(query * scale, lead), _stacked(key, lead), _stacked(value, lead)
        signed = queries.new_empty(len(queries), rows, columns)
        output = queries.new_empty(len(queries), rows, values.shape[-1])
        for part in _blocks(signed):
            scores = queries[part] @ keys[part].mT
            if mask is not None:
                scores.masked_fill_(mask[part], torch.finfo(scores.dtype).min)
            torch.softmax(scores, -1, out=signed[part])
            mark_dropped(signed[part], dropout)
            torch.bmm(signed[part].relu(), values[part], out=output[part])
        share = kept_share(dropout)
        output = output.div_(share).unflatten(0, lead)
        ctx.save_for_backward(query, key, value, signed, output)
        ctx.scale, ctx.share, ctx.lead = scale, share, lead
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, signed, output = ctx.saved_tensors
        inner = _stacked((gradient * output).sum(-1, keepdim=True), ctx.lead)
        scaled = _stacked(gradient / ctx.share, ctx.lead)
        queries, keys, values = (_stacked(x, ctx.lead) for x in (query, key, value))
        to_query, to_key, to_value = (
            torch.empty_like(x, memory_format=torch.contiguous_format) if needed else None
            for x, needed in zip((queries, keys, values), ctx.needs_input_grad[:3], strict=True)
        )
        for part in _blocks(signed):
            weights = signed[part].relu()
            if to_value is not None:
                torch.bmm(weights.mT, scaled[part], out=to_value[part])
            if to_query is None and to_key is None:
                continue
            to_scores = (scaled[part] @ values[part].mT).mul_(weights)
            to_scores.sub_(torch.mul(signed[part].abs(), inner[part], out=weights))
            if to_query is not None:
                torch.bmm(to_scores, keys[part], out=to_query[part])
            if to_key is not None:
                torch.bmm(to_scores.mT, queries[part], out=to_key[part])
        to_query, to_key = (None if x is None else x.mul_(ctx.scale) for x in (to_query, to_key))
        pairs = zip((to_query, to_key, to_value), (query, key, value), strict=True)
        return *(None if x is None else _reduced(x.unflatten(0, ctx.lead), like) for x, like in pairs), None, None, None


def _stacked(x: Tensor, lead: torch.Size) -> Tensor:
    """``[..., S, d] -> [L, S, d]``, the same for all of ``lead`` that ``x`` was without."""
    return x.expand(*lead, *x.shape[-2:]).reshape(-1, *x.shape[-2:])


def _blocks(weights: Tensor) -> list[slice]:
    """Parts of the first dimension of ``[L, S, N]`` that the cache holds."""
    size = max(1, _BLOCK // weights.shape[1:].numel())
    return [slice(first, first + size) for first in range(0, len(weights), size)]


def _reduced(gradient: Tensor, like: Tensor) -> Tensor:
    """Sum over dimensions that ``like`` was broadcast along."""
    return gradient if gradient.shape == like.shape else gradient.sum_to_size(like.shape)
