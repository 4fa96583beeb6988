"""Depthwise convolution whose gradient is computed in float32 where bfloat16 has no quick kernel.

On CPUs, oneDNN's gradient of a depthwise convolution in bfloat16 is quick for 3 x 3 kernels at stride 1 alone; the
others take three to five times as long as in float32, more than all that bfloat16 saves elsewhere
(``benchmarks/tuning_step.py``).

Shape legend: B images, C channels, H rows, W columns.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def depthwise(x: Tensor, weight: Tensor, stride: int, padding: tuple[int, int]) -> Tensor:
    """``F.conv2d`` of each channel with its own kernel: ``[B, C, H, W] -> [B, C, H', W']``.

    Under autocast to bfloat16 on a CPU the result is bfloat16's; the gradient is of float32 sums where that is quicker.

    Args:
        x: the map.
        weight: ``[C, 1, k, k]``.
        stride: step of the kernel, down and across.
        padding: rows above and below, columns left and right.
    """
    lowered = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    slow = weight.shape[-1] > 3 or stride > 1
    if x.device.type == "cpu" and lowered and slow and (x.requires_grad or weight.requires_grad):
        return _Depthwise.apply(x.bfloat16(), weight, stride, padding)
    return F.conv2d(x, weight, None, stride, padding, groups=len(weight))


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight.to(x.dtype), None, stride, padding, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        steps, groups = [ctx.stride] * 2, len(weight)
        sizes = (None, steps, list(ctx.padding), [1, 1], False, [0, 0], groups, [*ctx.needs_input_grad[:2], False])
        of_x, of_weight, _ = torch.ops.aten.convolution_backward(gradient.float(), x.float(), weight.float(), *sizes)
        of_x = None if of_x is None else of_x.to(x.dtype)
        return of_x, None if of_weight is None else of_weight.to(weight.dtype), None, None
