"""Products with weights that are float16 numbers: half the bytes are read, and the sums are those of float32.

A step of decoding costs what reading the weights costs. Those of a checkpoint in float16 lose nothing in that type
(`scripts.networks.lora` rounds what it adds to such weights). The product is FBGEMM's, which widens each weight in a
register and adds in float32.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor


class HalfProduct:
    """``x @ weight^T + bias``: float16 numbers ``weight`` ``[out, in]``, in float32, and ``bias`` ``[out]`` or None."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._packed = torch.ops.quantized.linear_prepack_fp16(weight.contiguous(), bias)

    def __call__(self, x: Tensor) -> Tensor:
        """``[..., in] -> [..., out]``, float32."""
        return torch.ops.quantized.linear_dynamic_fp16(x, self._packed)


def half_product(weight: Tensor, bias: Tensor | None) -> HalfProduct | None:
    """The product with ``weight``; None where it is not of float16 numbers, or this machine has no such product."""
    return HalfProduct(weight, bias) if _available() and are_half(weight) else None


def are_half(weight: Tensor) -> bool:
    """Whether float32 values are all float16 numbers."""
    return weight.dtype == torch.float32 and torch.equal(weight.half().float(), weight)


@cache
def _available() -> bool:
    """Whether this build and processor have FBGEMM's product."""
    avx2 = getattr(torch.cpu, "_is_avx2_supported", lambda: False)()
    engines = {"fbgemm", "x86"} & {torch.backends.quantized.engine}
    return bool(avx2 and engines and hasattr(torch.ops.quantized, "linear_dynamic_fp16"))
