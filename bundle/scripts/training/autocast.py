"""Arithmetic precision in MONAI's engines: autocast on any device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer
from torch import nn

from scripts.errors import InputError
from scripts.kernels.precision import autocast, check_autocast_name, resolved


class AutocastInferer(Inferer):
    """Run the network under autocast on the device it is on.

    MONAI's ``amp`` switch is CUDA only and leaves a CPU run in float32 without a word; this inferer is for both. A
    trainer's ``amp`` then says whether the loss is scaled, see :func:`scales_loss`.

    Args:
        dtype: ``bfloat16``, ``float16``, ``auto`` (bfloat16 where the device has units for it), or ``float32`` / None /
            empty for none.
        method: network method to call instead of ``forward``, such as ``generate``.
    """

    def __init__(self, dtype: str | None = None, *, method: str = "") -> None:
        super().__init__()
        check_autocast_name(dtype)
        self.dtype = dtype
        self.method = method

    def __call__(self, inputs: torch.Tensor | None, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return ``network(inputs, *args, **kwargs)``; ``inputs`` is None when tokens come from the cache."""
        call = getattr(getattr(network, "module", network), self.method) if self.method else network
        with autocast(inputs.device if inputs is not None else _device_of(network), self.dtype):
            return call(inputs, *args, **kwargs)


def scales_loss(amp_dtype: str | None, device: torch.device | str) -> bool:
    """Whether a trainer needs ``amp: true``: in float16 small gradients vanish unless the loss is scaled.

    MONAI then makes a ``GradScaler``, and an autocast to float16 around the same one of :class:`AutocastInferer`.

    Raises:
        InputError: float16 on another device than CUDA, for which MONAI has no scaler; or an unknown name.
    """
    check_autocast_name(amp_dtype)
    if resolved(amp_dtype, device) != "float16":
        return False
    if torch.device(device).type != "cuda":
        raise InputError(f"amp_dtype float16 trains on CUDA only, not on {device}: set bfloat16, auto or float32.")
    return True


def _device_of(network: Any) -> torch.device:
    parameter = next(network.parameters(), None) if isinstance(network, nn.Module) else None
    return parameter.device if parameter is not None else torch.device("cpu")
