"""Weights laid out once for oneDNN, for layers that multiply far more often than they change.

PyTorch lays a layer's weights out anew at every call, takes a slow path for single images on one thread, and writes
the result before an activation reads it again. Here the layout is kept as long as the weights are the same, and the
activation is part of the product. The sums are those of float32: oneDNN is called as it is, so nothing is rounded to a
shorter type, whatever ``torch.set_float32_matmul_precision`` permits.

Shape legend: B images, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "KeptWeights",
    "activated",
    "can_be_laid_out",
    "is_tracked",
    "laid_out_convolution",
    "laid_out_linear",
    "state_of",
]

_FUSED = {"": ("none", [], ""), "gelu": ("gelu", [], "none"), "relu6": ("hardtanh", [0.0, 6.0], "")}
_AVAILABLE = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")


class KeptWeights:
    """What was made of a layer's weights, and the state of them that it was made of; copies begin empty."""

    def __init__(self) -> None:
        self._state: tuple | None = None
        self._kept: tuple[Tensor, Tensor | None] | None = None

    def of(self, state: tuple, make: Callable[[], tuple[Tensor, Tensor | None]]) -> tuple[Tensor, Tensor | None]:
        """Weight in oneDNN's layout and bias: those of before where ``state`` is the same."""
        if self._kept is None or state != self._state:
            self._kept, self._state = make(), state
        return self._kept

    def __deepcopy__(self, memo: dict) -> KeptWeights:
        return KeptWeights()

    def __reduce__(self) -> tuple[type[KeptWeights], tuple]:
        return KeptWeights, ()


def is_tracked(*tensors: Tensor) -> bool:
    """Whether autograd follows any of these, so that nothing may be overwritten."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def can_be_laid_out(x: Tensor, *parameters: Tensor | None) -> bool:
    """Whether a layer with these parameters may take the way of this module for the input ``x``."""
    if (
        not _AVAILABLE
        or x.device.type != "cpu"
        or torch.is_autocast_enabled("cpu")
        or not torch.backends.mkldnn.enabled
    ):
        return False
    tensors = [x, *(parameter for parameter in parameters if parameter is not None)]
    return all(tensor.dtype == torch.float32 for tensor in tensors) and not is_tracked(*tensors) and x.numel() > 0


def state_of(value: Tensor | None) -> tuple | None:
    """Changes whenever the values may have changed; inference tensors have no version and never do."""
    if value is None:
        return None
    return value.data_ptr(), value.dtype, None if value.is_inference() else value._version


def activated(x: Tensor, activation: str) -> Tensor:
    """``gelu``, ``relu6`` or nothing of a result that nobody else reads: in place unless autograd follows it."""
    if activation == "gelu":
        return F.gelu(x) if is_tracked(x) else torch.ops.aten.gelu_(x)
    return F.relu6(x, inplace=not is_tracked(x)) if activation == "relu6" else x


def laid_out_convolution(
    kept: KeptWeights,
    x: Tensor,
    state: tuple,
    make: Callable[[], tuple[Tensor, Tensor | None]],
    *,
    stride: int,
    padding: tuple[int, int],
    groups: int,
    activation: str,
) -> Tensor:
    """``activation(conv2d(x, weight, bias))``: ``[B, C, H, W] -> [B, C', H', W']``.

    Args:
        kept: of this layer.
        x: see `can_be_laid_out`.
        state: of the parameters that weight and bias are made of.
        make: weight and bias.
        stride, padding, groups: of the convolution.
        activation: ``gelu``, ``relu6`` or ``""``.
    """
    steps, apart = [stride, stride], [1, 1]

    def made() -> tuple[Tensor, Tensor | None]:
        weight, bias = make()
        reorder = torch.ops.mkldnn._reorder_convolution_weight
        return reorder(weight.contiguous(), list(padding), steps, apart, groups, list(x.shape)), bias

    weight, bias = kept.of((*state, x.shape), made)
    return torch.ops.mkldnn._convolution_pointwise(
        x, weight, bias, list(padding), steps, apart, groups, *_FUSED[activation]
    )


def laid_out_linear(kept: KeptWeights, linear: nn.Module, x: Tensor, activation: str = "") -> Tensor:
    """``activation(linear(x))``, ``[..., in] -> [..., out]``; as it is written where `can_be_laid_out` says no."""
    if type(linear) is not nn.Linear or not can_be_laid_out(x, linear.weight, linear.bias):
        return activated(linear(x), activation)

    def made() -> tuple[Tensor, Tensor | None]:
        rows = x.numel() // x.shape[-1]
        return torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), rows), linear.bias

    weight, bias = kept.of((state_of(linear.weight), state_of(linear.bias)), made)
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, *_FUSED[activation])
