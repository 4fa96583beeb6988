"""The device that a config or a caller names."""

from __future__ import annotations

import torch

from scripts.errors import InputError


def device_of(name: torch.device | str | int) -> torch.device:
    """``"cpu"``, ``"cuda:0"``, ``0`` or a ``torch.device`` as a device that is there.

    Raises:
        InputError: there is no such kind of device, or this machine has none.
    """
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        raise InputError(f"device {name!r} is not known: give cpu, cuda, cuda:0, ... or mps") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device {name} is not on this machine, which has {torch.cuda.device_count()} CUDA devices: give cpu"
        )
    return device
