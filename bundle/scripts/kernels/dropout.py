"""Dropout that is quick on a CPU: its random numbers are the slow part there, so one draw serves four elements.

A Bernoulli draw for each element takes an eighth of a stage-1 step on CPUs; cut from 64-bit numbers, a twelfth of that.
The backward pass keeps one byte for an element instead of a number.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F

_BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # by an element's bytes
_STEPS = 2**15


def drop(x: Tensor, share: float, training: bool = True) -> Tensor:
    """``torch.nn.functional.dropout``: each element is 0 with probability ``share``, the others grow to make up for it.

    On CPUs ``share`` is rounded to steps of 1/32768; the mean stays what it was.
    """
    if not training or not share or x.device.type != "cpu":
        return F.dropout(x, share, training)
    return _Dropout.apply(x, share)


def kept_share(share: float) -> float:
    """What is left when ``share`` is dropped, in the steps that draws have."""
    return 1.0 - round(share * _STEPS) / _STEPS


def draw_kept(shape: torch.Size, share: float) -> Tensor:
    """Which elements stay when ``share`` of them is dropped, bool ``shape`` on the CPU."""
    return _draw(shape, share) >= 0


def mark_dropped(x: Tensor, share: float) -> None:
    """Give a ``share`` of the elements of a CPU tensor without minus signs such a sign, in place.

    The draws are those of :func:`draw_kept`.
    """
    bits = _BITS[x.element_size()]
    signs = _draw(x.shape, share).to(bits).bitwise_and_(torch.iinfo(bits).min)
    x.view(bits).bitwise_or_(signs)


def _draw(shape: torch.Size, share: float) -> Tensor:
    """Integers of which ``share`` is negative, int16 ``shape``: four from each 64-bit number."""
    numbers = torch.empty((shape.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    numbers = numbers.view(torch.int16)[: shape.numel()].view(shape).bitwise_right_shift_(1)
    return numbers.sub_(round(share * _STEPS) - _STEPS // 2)


def keep(x: Tensor, kept: Tensor) -> Tensor:
    """``x`` where ``kept``, 0 elsewhere, by their bits: a product with bools takes four times as long on a CPU."""
    bits = _BITS[x.element_size()]
    return (x.view(bits) & kept.to(bits).neg_()).view(x.dtype)


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, share: float) -> Tensor:
        kept, ctx.stays = draw_kept(x.shape, share), kept_share(share)
        ctx.save_for_backward(kept)
        return keep(x, kept).div_(ctx.stays)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return keep(gradient, kept).div_(ctx.stays), None
