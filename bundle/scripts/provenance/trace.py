"""Trace of a caption: enough to make it again and to know that it is the same.

Nothing here names a person, a host or a time, so equal runs give equal traces.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from scripts.metrics.versions import installed

if TYPE_CHECKING:
    from scripts.networks.caption_network import CaptionNetwork

# What reads, computes or decodes: another version of any may give another caption.
PACKAGES = ("torch", "monai", "transformers", "tokenizers", "numpy", "pydicom", "nibabel", "itk", "pillow")


def environment() -> dict[str, Any]:
    """``versions`` of Python and packages, ``threads``, and ``processor`` (the instruction set that PyTorch uses)."""
    return {
        "versions": installed(PACKAGES),
        "threads": torch.get_num_threads(),
        "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
    }


def network_trace(network: CaptionNetwork) -> dict[str, Any]:
    """``prompt``, ``generation`` (all options), and ``network``, a hash of what the network is built of."""
    return {
        "prompt": network.prompt.text,
        "generation": json.loads(json.dumps(asdict(network.options))),
        "network": structure_sha256(network),
    }


def structure_sha256(network: nn.Module) -> str:
    """SHA-256 over names, types and shapes of all weights and over settings of the encoders: not over values."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        digest.update(f"{name} {getattr(value, 'dtype', '')} {shape}\n".encode())
    for name, module in network.named_modules():
        identity = getattr(module, "_identity", None)
        if callable(identity):
            digest.update(f"{name} {json.dumps(identity(), sort_keys=True, default=str)}\n".encode())
    return digest.hexdigest()


def pixels_sha256(image: Tensor) -> str:
    """SHA-256 of what the encoders saw: letterboxed views ``[V, 3, S, S]`` in [0, 1]."""
    views = image.detach().cpu().float().contiguous()
    return hashlib.sha256(views.numpy().tobytes()).hexdigest()


def batch_trace(row: int, of: int) -> dict[str, int]:
    """Where in its batch a case stood: the last bits of a sum may depend on how many are added at once."""
    return {"row": row, "of": of}


def relative_source(source: str | Path, bundle_root: str | Path) -> str:
    """A path inside the bundle relative to it, anything else (``starter``, a hub name, a user's path) as it is."""
    path, root = Path(source), Path(bundle_root)
    try:
        return path.resolve().relative_to(root.resolve()).as_posix() if path.exists() else str(source)
    except ValueError:
        return str(source)


def same(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[str]:
    """Keys in which two mappings differ, as they are after a journey through JSON."""
    first, second = json.loads(json.dumps(left)), json.loads(json.dumps(right))
    return [key for key in sorted({*first, *second}) if first.get(key) != second.get(key)]
