"""Arithmetic precision by name: which type a device multiplies well, and autocast to it.

``auto`` is bfloat16 where the device has units for it (CUDA from Ampere on; CPUs with AVX512-BF16 or AMX) and float32
elsewhere: a CPU without them emulates bfloat16, several times slower than float32.
"""

from __future__ import annotations

import contextlib

import torch

from scripts.errors import InputError

AUTOCAST_TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": None, "": None}


def multiplies_bfloat16(device: torch.device | str) -> bool:
    """Whether ``device`` has bfloat16 arithmetic of its own; emulation does not count."""
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    if kind != "cpu":
        return False
    supports = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(bool(support()) for support in supports if support is not None)


def resolved(name: str | None, device: torch.device | str) -> str:
    """The precision that ``auto`` means on ``device``; any other name as it is."""
    if name != "auto":
        return name or ""
    return "bfloat16" if multiplies_bfloat16(device) else "float32"


def check_autocast_name(name: str | None) -> None:
    """Refuse a name that no device has an autocast for.

    Raises:
        InputError: it is none of ``auto``, ``bfloat16``, ``float16``, ``float32`` and empty.
    """
    if name != "auto" and (name or "") not in AUTOCAST_TYPES:
        raise InputError(f"amp_dtype must be auto, bfloat16, float16 or float32, not {name}.")


def autocast_dtype(name: str | None, device: torch.device | str) -> torch.dtype | None:
    """The type to autocast to on ``device``; None for no autocast (``float32`` or empty).

    Raises:
        InputError: an unknown name.
    """
    check_autocast_name(name)
    return AUTOCAST_TYPES[resolved(name, device)]


def autocast(device: torch.device | str, name: str | None) -> contextlib.AbstractContextManager:
    """Autocast on ``device`` to the precision ``name``; nothing for ``float32`` or an empty name.

    Raises:
        InputError: an unknown name.
    """
    dtype = autocast_dtype(name, device)
    return contextlib.nullcontext() if dtype is None else torch.autocast(torch.device(device).type, dtype=dtype)


def set_float32_precision(mode: str = "exact") -> str:
    """Choose how float32 matrices are multiplied; returns the mode that was set before.

    ``exact`` is PyTorch's default. ``fast`` lets CUDA use TF32 and sends CPU products to oneDNN, which is 1.5-2x
    faster on CPUs where MKL is slow; whether it then rounds to bfloat16 depends on the CPU, so it is a choice.

    Raises:
        InputError: another mode.
    """
    modes = {"exact": "highest", "fast": "medium"}
    if mode not in modes:
        raise InputError(f"float32 precision must be exact or fast, not {mode}.")
    before = "exact" if torch.get_float32_matmul_precision() == "highest" else "fast"
    torch.set_float32_matmul_precision(modes[mode])
    return before
