"""Linear layers with weights laid out once for oneDNN, for decoding on a CPU.

A decoding step multiplies a handful of rows with every weight of the model. `torch.nn.Linear` lays weights out anew, or
reads them in an order that suits large matrices, at every call; with the layout made once the same product, in the same
precision, takes a third of the time at 5 rows (measured by `benchmarks/generation.py`). The price is a second copy of
the weights in memory.
"""

from __future__ import annotations

import copy
from functools import cache

import torch
from torch import Tensor, nn

AUTOMATIC_LIMIT = 2 * 1024**3  # bytes: larger models are packed only on request


@cache
def type_can_be_packed(dtype: torch.dtype) -> bool:
    """Whether oneDNN multiplies this type on this processor: float32 on any, bfloat16 where it has units for it."""
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")):
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32


class PackedLinear(nn.Module):
    """The product of `linear`, which stays the owner of the weights; when they change, they are packed again."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        # In a tuple, so that it is not registered: parameters would be counted, saved and trained twice.
        self._source = (linear,)
        self._packed: Tensor | None = None
        self._state: tuple | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        """`[..., in]` -> `[..., out]`."""
        (linear,) = self._source
        same = inputs.dtype == linear.weight.dtype and type_can_be_packed(inputs.dtype)
        if not same or torch.is_autocast_enabled("cpu"):
            return linear(inputs)
        state = self._weight_state(linear.weight)
        if state != self._state:
            self._packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
            self._state = state
        return torch.ops.mkldnn._linear_pointwise(inputs, self._packed, linear.bias, "none", [], "")

    @staticmethod
    def _weight_state(weight: Tensor) -> tuple:
        """Changes whenever the weight's values may have changed; inference tensors have no version and never do."""
        version = None if weight.is_inference() else weight._version
        return weight.data_ptr(), weight.dtype, version


def can_be_packed(model: nn.Module) -> bool:
    """Whether this build, the model's device and its types allow packed weights."""
    first = next(model.parameters())
    return first.device.type == "cpu" and torch.backends.mkldnn.enabled and type_can_be_packed(first.dtype)


def worth_packing(model: nn.Module) -> bool:
    """Whether to pack without being asked: possible, all weights frozen, and a copy of them is small."""
    size = sum(linear.weight.nbytes for linear in model.modules() if isinstance(linear, nn.Linear))
    frozen = not any(parameter.requires_grad for parameter in model.parameters())
    return can_be_packed(model) and frozen and size <= AUTOMATIC_LIMIT


def packed(model: nn.Module) -> nn.Module:
    """A twin of `model` that shares its parameters and buffers and has `PackedLinear` for each `nn.Linear`."""
    if type(model) is nn.Linear:
        return PackedLinear(model)
    twin = copy.copy(model)
    twin._modules = {name: child and packed(child) for name, child in model._modules.items()}
    return twin
