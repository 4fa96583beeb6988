"""Write trained parameters as a small checkpoint: half precision, split into files that a model zoo accepts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from scripts.weights.intact import write_sealed
from scripts.weights.loading import SHARDS, shards_of, trained_names

MAX_BYTES = 24_000_000  # model zoos take files up to 25 MB


def trained_state(network: nn.Module) -> dict[str, Tensor]:
    """Name to tensor of what training changes."""
    state = network.state_dict()
    return {name: state[name].detach().cpu() for name in trained_names(network)}


def _split(state: dict[str, Tensor], max_bytes: int) -> list[dict[str, Tensor]]:
    """Fill files in order, each at most ``max_bytes`` of tensors."""
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, value in state.items():
        need = value.numel() * value.element_size()
        if parts[-1] and size + need > max_bytes:
            parts.append({})
            size = 0
        parts[-1][name] = value.contiguous()
        size += need
    return parts


def save_shards(
    state: Mapping[str, Tensor], path: str | Path, *, dtype: torch.dtype = torch.float16, max_bytes: int = MAX_BYTES
) -> list[Path]:
    """Write ``model.pt`` (and ``model_2.pt``, ... as needed), each file atomically; returns the files.

    Args:
        state: name to tensor.
        path: of the first file.
        dtype: stored precision of floating-point tensors.
        max_bytes: of one file's tensors.
    """
    first = Path(path)
    old = set(shards_of(first))
    stored = {name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()}
    parts = _split(stored, max_bytes)
    files = [first if i == 0 else first.with_name(f"{first.stem}_{i + 1}{first.suffix}") for i in range(len(parts))]
    for file, part in zip(files, parts, strict=True):
        write_sealed(file, {**part, SHARDS: torch.tensor(len(parts))})
    for stale in old - set(files):
        stale.unlink(missing_ok=True)
    return files
