"""Dropout that is quick on a CPU: its random numbers are the slow part there, so one draw serves four elements.

A Bernoulli draw for each element takes an eighth of a stage-1 step on CPUs; cut from 64-bit numbers, a twelfth of that.
The backward pass keeps one byte for an element instead of a number.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F

__all__ = ["draw_kept", "drop", "keep", "mark_dropped"]

_BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # by an element's bytes


def drop(x: Tensor, share: float, training: bool = True) -> Tensor:
    """``torch.nn.functional.dropout``: each element is 0 with probability ``share``, the others grow to make up for it.

    On CPUs ``share`` is rounded to steps of 1/32768; the mean stays what it was.
    """
    if not training or not share or x.device.type != "cpu":
        return F.dropout(x, share, training)
    return _Dropout.apply(x, share)


def draw_kept(shape: torch.Size, share: float) -> tuple[Tensor, float]:
    """Which elements stay when ``share`` of them is dropped, bool ``shape`` on the CPU, and the share that does."""
    numbers, stays = _draw(shape, share)
    return numbers >= 0, stays


def mark_dropped(x: Tensor, share: float) -> float:
    """Give a ``share`` of the elements of a CPU tensor without minus signs such a sign, in place.

    Returns:
        The share that stays without one. The draws are those of :func:`draw_kept`.
    """
    numbers, stays = _draw(x.shape, share)
    bits = _BITS[x.element_size()]
    x.view(bits).bitwise_or_(numbers.to(bits).bitwise_and_(torch.iinfo(bits).min))
    return stays


def _draw(shape: torch.Size, share: float) -> tuple[Tensor, float]:
    """Integers of which ``share`` is negative, int16 ``shape``, and the share that is not."""
    numbers = torch.empty((shape.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    dropped = round(share * 2**15)
    numbers = numbers.view(torch.int16)[: shape.numel()].view(shape)
    return numbers.bitwise_right_shift_(1).sub_(dropped - 2**14), 1.0 - dropped / 2**15


def keep(x: Tensor, kept: Tensor) -> Tensor:
    """``x`` where ``kept``, 0 elsewhere, by their bits: a product with bools takes four times as long on a CPU."""
    bits = _BITS[x.element_size()]
    return (x.view(bits) & kept.to(bits).neg_()).view(x.dtype)


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, share: float) -> Tensor:
        kept, ctx.stays = draw_kept(x.shape, share)
        ctx.save_for_backward(kept)
        return keep(x, kept).div_(ctx.stays)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return keep(gradient, kept).div_(ctx.stays), None
