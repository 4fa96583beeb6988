"""Attention with dropout on its weights, kept small for the backward pass on a CPU.

PyTorch's fused attention has no dropout on CPUs: it falls back to float32 products and keeps the scores, their softmax
and a float mask. Here the backward pass computes the scores again, as fused kernels do, and one byte per weight is kept
(which were dropped). On other devices, or without dropout, this is PyTorch's own attention.

Shape legend: ``...`` batch and heads, S queries, N keys, d width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F

from .dropout import draw_kept, keep

__all__ = ["attend", "autocast_type"]


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
    return _DroppingAttention.apply(query, key, key if same else value.to(query.dtype), mask, dropout, scale)


def autocast_type(device: torch.device) -> torch.dtype | None:
    """The type that products have under the autocast around us, None where there is none."""
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None


class _DroppingAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float, scale: float
    ) -> Tensor:
        weights = _weights(query, key, mask, scale)
        kept, share = draw_kept(weights.shape, dropout)
        output = keep(weights, kept) @ value / share
        ctx.save_for_backward(query, key, value, mask, kept, output)
        ctx.scale, ctx.share = scale, share
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, mask, kept, output = ctx.saved_tensors
        need_query, need_key, need_value = ctx.needs_input_grad[:3]
        weights = _weights(query, key, mask, ctx.scale)
        scaled = gradient / ctx.share
        to_value = _reduced(keep(weights, kept).transpose(-1, -2) @ scaled, value) if need_value else None
        to_query = to_key = None
        if need_query or need_key:
            inner = (gradient * output).sum(-1, keepdim=True)
            to_scores = keep(scaled @ value.transpose(-1, -2), kept).sub_(inner).mul_(weights).mul_(ctx.scale)
            to_query = to_scores @ key if need_query else None
            to_key = _reduced(to_scores.transpose(-1, -2) @ query, key) if need_key else None
        return to_query, to_key, to_value, None, None, None


def _weights(query: Tensor, key: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    scores = (query * scale) @ key.transpose(-1, -2)
    if mask is not None:
        scores.masked_fill_(~mask, torch.finfo(scores.dtype).min)
    # No autocast: it would make float32 of what is rounded to bfloat16 again. The kernel itself sums in float32.
    with torch.autocast("cpu", enabled=False):
        return scores.softmax(-1)


def _reduced(gradient: Tensor, like: Tensor) -> Tensor:
    """Sum over dimensions that ``like`` was broadcast along."""
    return gradient if gradient.shape == like.shape else gradient.sum_to_size(like.shape)
