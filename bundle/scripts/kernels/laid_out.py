"""Weights laid out once for oneDNN, for layers that multiply far more often than they change.

PyTorch lays a layer's weights out anew at every call, takes a slow path for single images on one thread, and writes
the result before an activation reads it again. Here the layout is kept as long as the weights are the same, and the
activation is part of the product. The sums are those of float32: oneDNN is called as it is, so nothing is rounded to a
shorter type, whatever ``torch.set_float32_matmul_precision`` permits. Under autocast to bfloat16 weights are kept in
that type, where the processor has units for it.

Shape legend: B images, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scripts.kernels.precision import multiplies_bfloat16

__all__ = [
    "KeptWeights",
    "activated",
    "is_tracked",
    "laid_out_convolution",
    "laid_out_linear",
    "laid_out_type",
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


def laid_out_type(x: Tensor, *parameters: Tensor | None) -> torch.dtype | None:
    """The type in which a layer with these parameters may take the way of this module for the input ``x``.

    float32; bfloat16 where autocast asks for it and the processor has units for it; None: not at all.
    """
    if not _AVAILABLE or x.device.type != "cpu" or not torch.backends.mkldnn.enabled:
        return None
    wanted = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32
    if wanted != torch.float32 and not (wanted == torch.bfloat16 and multiplies_bfloat16("cpu")):
        return None
    given = [parameter for parameter in parameters if parameter is not None]
    fits = x.dtype in (torch.float32, wanted) and all(parameter.dtype == torch.float32 for parameter in given)
    return wanted if fits and not is_tracked(x, *given) and x.numel() > 0 else None


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
    dtype: torch.dtype,
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
        x: float32 or ``dtype``.
        dtype: of the product and its result, see `laid_out_type`.
        state: of the parameters that weight and bias are made of.
        make: weight and bias.
        stride, padding, groups: of the convolution.
        activation: ``gelu``, ``relu6`` or ``""``.
    """
    steps, apart = [stride, stride], [1, 1]

    def made() -> tuple[Tensor, Tensor | None]:
        weight, bias = make()
        reorder = torch.ops.mkldnn._reorder_convolution_weight
        weight = weight.to(dtype).contiguous()
        return reorder(weight, list(padding), steps, apart, groups, list(x.shape)), in_type(bias, dtype)

    weight, bias = kept.of((*state, x.shape, dtype), made)
    return torch.ops.mkldnn._convolution_pointwise(
        x.to(dtype), weight, bias, list(padding), steps, apart, groups, *_FUSED[activation]
    )


def laid_out_linear(kept: KeptWeights, linear: nn.Module, x: Tensor, activation: str = "") -> Tensor:
    """``activation(linear(x))``, ``[..., in] -> [..., out]``; as it is written where `laid_out_type` says no."""
    dtype = laid_out_type(x, linear.weight, linear.bias) if type(linear) is nn.Linear else None
    if dtype is None:
        return activated(linear(x), activation)

    def made() -> tuple[Tensor, Tensor | None]:
        weight, rows = linear.weight.detach().to(dtype), x.numel() // x.shape[-1]
        return torch.ops.mkldnn._reorder_linear_weight(weight, rows), in_type(linear.bias, dtype)

    weight, bias = kept.of((state_of(linear.weight), state_of(linear.bias), dtype), made)
    return torch.ops.mkldnn._linear_pointwise(x.to(dtype), weight, bias, *_FUSED[activation])


def in_type(value: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    return None if value is None else value.detach().to(dtype)
