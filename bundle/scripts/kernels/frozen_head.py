"""Cross-entropy of words under an output layer that does not learn, a few rows of logits at a time.

Logits are the largest tensors of caption training: fifty thousand numbers for each word, written, raised to float32,
normalised, and all of it once more for the gradient. Here the gradient is made while a few rows of them are at hand,
and nothing of that size is kept (``benchmarks/caption_loss.py``). ``torch.nn.functional.linear_cross_entropy`` does
the same, but rounds a bfloat16 loss to three digits.

Shape legend: M words, D width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_ROWS = 128  # words at a time: fewer read the weights more often, more fall out of the cache


def frozen_head_loss(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, ids: Tensor, label_smoothing: float = 0.0
) -> Tensor:
    """Sum over words of ``F.cross_entropy(F.linear(hidden, weight, bias), ids)``, float32; only ``hidden`` learns.

    Products are made in autocast's precision where it is on, sums and exponentials in float32.

    Args:
        hidden: ``[M, D]``.
        weight: ``[V, D]``; bias: ``[V]``.
        ids: the right words ``[M]``.
        label_smoothing: as in ``torch.nn.functional.cross_entropy``.
    """
    kind = hidden.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
    bias = None if bias is None else bias.to(dtype)
    hidden = hidden if torch.is_grad_enabled() else hidden.detach()  # a validation needs no gradient
    return _HeadLoss.apply(hidden.to(dtype), weight.to(dtype), bias, ids, label_smoothing)


class _HeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, ids: Tensor, label_smoothing: float
    ) -> Tensor:
        learns = ctx.needs_input_grad[0]
        losses, slopes = [hidden.new_zeros(1, dtype=torch.float32)], [hidden[:0]]
        with torch.autocast(hidden.device.type, enabled=False):
            for some, right in zip(hidden.split(_ROWS), ids.split(_ROWS), strict=True):
                logprobs = F.linear(some, weight, bias).float().log_softmax(-1)
                losses.append(F.nll_loss(logprobs, right, reduction="none") * (1 - label_smoothing))
                if label_smoothing:
                    losses.append(logprobs.mean(-1) * -label_smoothing)
                if learns:
                    slopes.append(_slope(logprobs, right, label_smoothing).to(weight.dtype) @ weight)
        ctx.save_for_backward(torch.cat(slopes) if learns else None)
        return torch.cat(losses).sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        (slope,) = ctx.saved_tensors
        return (slope * gradient).to(slope.dtype), None, None, None, None


def _slope(logprobs: Tensor, ids: Tensor, label_smoothing: float) -> Tensor:
    """Gradient of the loss by the logits of ``logprobs`` ``[M, V]``, which it is written over."""
    slope = logprobs.exp_()
    if label_smoothing:
        slope -= label_smoothing / slope.shape[-1]
    slope[torch.arange(len(ids), device=ids.device), ids] -= 1 - label_smoothing
    return slope
