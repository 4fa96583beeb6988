"""float32 matrix products through oneDNN where that is exact.

PyTorch's float32 products run in MKL, which is slow on AMD processors. ``torch.set_float32_matmul_precision("medium")``
sends them to oneDNN and permits it to round to bfloat16. Processors with bfloat16 matrix units do round; on the AMD
ones that were tried oneDNN computes in full float32, 1.5 to 2 times faster than MKL. So the permission is given only
after a probe found the result exact, and only on AMD processors; elsewhere MKL is fast.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch

_CPUINFO = Path("/proc/cpuinfo")


@contextmanager
def exact_fast_matmul(device: torch.device | str = "cpu") -> Iterator[None]:
    """Inside, float32 products on the CPU may take the faster exact path; a setting that the user made is kept."""
    before = torch.get_float32_matmul_precision()
    if torch.device(device).type != "cpu" or before != "highest" or not onednn_is_exact():
        yield
        return
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@cache
def onednn_is_exact() -> bool:
    """Whether this is an AMD processor on which "medium" products are as near to float64 as "highest" ones."""
    if not torch.backends.mkldnn.is_available() or not _is_amd():
        return False
    generator = torch.Generator().manual_seed(0)
    left = torch.rand(256, 768, generator=generator)
    right = torch.rand(768, 512, generator=generator)
    exact = left.double() @ right.double()
    errors = {}
    before = torch.get_float32_matmul_precision()
    for precision in ("highest", "medium"):
        torch.set_float32_matmul_precision(precision)
        errors[precision] = ((left @ right).double() - exact).norm() / exact.norm()
    torch.set_float32_matmul_precision(before)
    return bool(errors["medium"] <= 4 * errors["highest"])


def _is_amd() -> bool:
    try:
        return "AuthenticAMD" in _CPUINFO.read_text(errors="replace")
    except OSError:
        return False
