"""Products with weights that are float16 numbers: half the bytes are read, and the sums are those of float32.

A step of decoding costs what reading the weights costs. Those of a checkpoint in float16 lose nothing in that type;
adapters that were added to them (`scripts.networks.lora`) are taken off again and multiplied beside, as the product of
low rank that they are. The product is FBGEMM's, which widens each weight in a register and adds in float32.

Shape legend: R rank of all adapters together.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor, nn

__all__ = ["HalfProduct", "half_product"]

_TOLERANCE = 2.0**-21  # of the largest weight: what adding adapters and taking them off again rounds, in float32


class HalfProduct:
    """``x @ (half + up @ down)^T + bias``; ``half`` ``[out, in]``, ``up`` ``[out, R]``, ``down`` ``[R, in]``.

    Args:
        half: float16 numbers, in float32; what rounding left beside them is dropped.
        bias: ``[out]`` or None.
        factors: ``(up, down)`` or None.
    """

    def __init__(self, half: Tensor, bias: Tensor | None, factors: tuple[Tensor, Tensor] | None) -> None:
        self._packed = torch.ops.quantized.linear_prepack_fp16(half.contiguous(), bias)
        self._factors = None if factors is None else (factors[0].T.contiguous(), factors[1].T.contiguous())

    def __call__(self, x: Tensor) -> Tensor:
        """``[..., in] -> [..., out]``, float32."""
        rows = x.reshape(-1, x.shape[-1])
        made = torch.ops.quantized.linear_dynamic_fp16(rows, self._packed)
        if self._factors is not None:
            up, down = self._factors
            made.addmm_(rows @ down, up)
        return made.unflatten(0, x.shape[:-1])


def half_product(linears: Sequence[nn.Linear]) -> HalfProduct | None:
    """The product of layers side by side with the same inputs; None where a weight is no float16 number."""
    if not _available() or any(linear.weight.dtype != torch.float32 for linear in linears):
        return None
    bases = [_base(linear) for linear in linears]
    if any(base is None for base in bases):
        return None
    biases = [linear.bias for linear in linears]
    bias = None if biases[0] is None else torch.cat(biases).detach()
    return HalfProduct(bases[0] if len(bases) == 1 else torch.cat(bases), bias, _side_by_side(linears))


@torch.no_grad()
def _base(linear: nn.Linear) -> Tensor | None:
    """The layer's weight without what was added to it, where that is a float16 number (to float32's rounding)."""
    weight = linear.weight.detach()
    added = getattr(linear, "added", None)
    base = weight if added is None else torch.addmm(weight, added[0], added[1], alpha=-1.0)
    largest = float(torch.linalg.vector_norm(base, torch.inf))
    if not largest < torch.finfo(torch.float16).max:
        return None
    off = float(torch.linalg.vector_norm(base.half().float().sub_(base), torch.inf))
    return base if off <= (0.0 if added is None else _TOLERANCE * largest) else None


def _side_by_side(linears: Sequence[nn.Linear]) -> tuple[Tensor, Tensor] | None:
    """``up`` ``[out, R]`` with a block a layer, and ``down`` ``[R, in]``; None where nothing was added to any."""
    pairs = [getattr(linear, "added", None) for linear in linears]
    if all(pair is None for pair in pairs):
        return None
    ups = [
        linear.weight.new_zeros(len(linear.weight), 0) if p is None else p[0]
        for linear, p in zip(linears, pairs, strict=True)
    ]
    return torch.block_diag(*ups), torch.cat([pair[1] for pair in pairs if pair is not None])


@cache
def _available() -> bool:
    """Whether this build and processor have FBGEMM's product."""
    avx2 = getattr(torch.cpu, "_is_avx2_supported", lambda: False)()
    engines = {"fbgemm", "x86"} & {torch.backends.quantized.engine}
    return bool(avx2 and engines and hasattr(torch.ops.quantized, "linear_dynamic_fp16"))
