"""Frozen bfloat16 weights on a CPU without bfloat16 units: kept in bfloat16, multiplied in float32.

PyTorch emulates bfloat16 products there, at about a sixth of the speed of float32 ones (convolutions at a hundredth).
Each layer widens its own weights for a moment instead, a linear one again in the backward pass, so that a model still
takes two bytes a parameter.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F

from scripts.kernels.precision import multiplies_bfloat16

FEW_ROWS = 24  # up to so many, as in decoding, widening the weights takes longer than the emulated product


def widen_frozen(network: nn.Module) -> int:
    """Change how frozen bfloat16 linear layers and convolutions on such a CPU compute, in place; returns how many.

    Parameters and their names stay. On devices that multiply bfloat16 nothing changes.
    """
    forwards = {nn.Linear: _linear, nn.Conv2d: _convolution}
    layers = [module for module in network.modules() if type(module) in forwards and _to_widen(module)]
    for layer in layers:
        layer.forward = partial(forwards[type(layer)], layer)
    return len(layers)


def _to_widen(layer: nn.Linear | nn.Conv2d) -> bool:
    weight = layer.weight
    frozen = not any(parameter.requires_grad for parameter in layer.parameters())
    return frozen and weight.dtype == torch.bfloat16 and weight.device.type == "cpu" and not multiplies_bfloat16("cpu")


def _convolution(layer: nn.Conv2d, inputs: Tensor) -> Tensor:
    """``[B, in, H, W] -> [B, out, h, w]`` in the precision of ``inputs``; a frozen encoder has few and small ones."""
    bias = None if layer.bias is None else layer.bias.float()
    with torch.autocast(inputs.device.type, enabled=False):
        return layer._conv_forward(inputs.float(), layer.weight.float(), bias).to(inputs.dtype)


def _linear(layer: nn.Linear, inputs: Tensor) -> Tensor:
    """``[..., in] -> [..., out]`` in the precision of ``inputs``."""
    few = inputs.numel() // inputs.shape[-1] <= FEW_ROWS and not (inputs.requires_grad and torch.is_grad_enabled())
    if few or layer.weight.dtype != torch.bfloat16 or torch.is_autocast_enabled(inputs.device.type):
        return F.linear(inputs, layer.weight, layer.bias)
    return _WidenedProduct.apply(inputs, layer.weight, layer.bias)


class _WidenedProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        widened = F.linear(inputs.float(), weight.float(), None if bias is None else bias.float())
        return widened.to(inputs.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return (gradient.float() @ weight.float()).to(gradient.dtype), None, None
