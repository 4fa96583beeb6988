"""A linear layer, or several side by side, with weights laid out once for oneDNN.

A decoding step multiplies a handful of rows with every weight of the model. `torch.nn.Linear` lays weights out anew, or
reads them in an order that suits large matrices, at every call; with the layout made once the same product, in the same
precision, takes a third of the time at 5 rows (measured by `benchmarks/generation.py`). The price is a second copy of
the weights in memory. Weights that are float16 numbers are kept as such, see `half_linear`.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from scripts.kernels.half_linear import HalfProduct, half_product
from scripts.kernels.laid_out import state_of


@cache
def type_can_be_packed(dtype: torch.dtype) -> bool:
    """Whether oneDNN multiplies this type on this processor: float32 on any, bfloat16 where it has units for it."""
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")):
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32


class PackedLinear(nn.Module):
    """The products of `linears` with the same inputs, one after the other in the last dimension.

    They stay the owners of the weights; when these change, they are packed again. All have a bias, or none has.
    """

    def __init__(self, *linears: nn.Linear) -> None:
        super().__init__()
        # In a tuple, so that they are not registered: parameters would be counted, saved and trained twice.
        self._linears = linears
        self._packed: Tensor | None = None
        self._half: HalfProduct | None = None
        self._bias: Tensor | None = None
        self._state: list[tuple] | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        """`[..., in]` -> `[..., out]`."""
        weight = self._linears[0].weight
        same = inputs.dtype == weight.dtype and type_can_be_packed(inputs.dtype)
        if not same or torch.is_autocast_enabled("cpu"):
            return torch.cat([linear(inputs) for linear in self._linears], dim=-1)
        state = [state_of(value) for linear in self._linears for value in linear._parameters.values()]
        if state != self._state:
            self._pack()
            self._state = state
        if self._half is not None:
            return self._half(inputs)
        return torch.ops.mkldnn._linear_pointwise(inputs, self._packed, self._bias, "none", [], "")

    def _pack(self) -> None:
        weights, self._bias = self._joined()
        self._half = half_product(weights, self._bias)
        self._packed = None if self._half else torch.ops.mkldnn._reorder_linear_weight(weights)

    def _joined(self) -> tuple[Tensor, Tensor | None]:
        """All weights `[out, in]` and biases `[out]`."""
        weights, biases = ([getattr(linear, name) for linear in self._linears] for name in ("weight", "bias"))
        return torch.cat(weights).detach(), None if biases[0] is None else torch.cat(biases).detach()
