"""Load parameters into a network and say exactly what happened: loaded, missing, left over, left at random.

Nothing is loaded silently in part: a parameter that should have been there and was not is an error.
"""

from __future__ import annotations

import fnmatch
import logging
import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn

from scripts.errors import WeightsError
from scripts.weights.intact import check_intact, sha256_of

SHARDS = "__shards__"
"""Beside the tensors of a file of a checkpoint: how many files there are."""

logger = logging.getLogger(__name__)


def renamed_name(name: str, renames: Iterable[tuple[str, str]]) -> str:
    """A parameter's name after all replacements, pairs of a regular expression and what takes its place."""
    for pattern, replacement in renames:
        name = re.sub(pattern, replacement, name)
    return name


@dataclass
class LoadReport:
    """What a load did.

    ``random`` keeps its initial values; ``unused`` was in the file and belongs to parts that this network has not;
    ``unexpected`` was in the file and belongs to no part that its layout is known to have.
    """

    source: str
    loaded: list[str] = field(default_factory=list)
    parameters: int = 0
    random: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)

    def table(self) -> str:
        """One row a group: how many tensors, and where they belong."""
        rows = [
            ("loaded", len(self.loaded), _groups(self.loaded)),
            ("left at random", len(self.random), _groups(self.random)),
            ("in the file, not used", len(self.unused), _groups(self.unused)),
            ("unexpected in the file", len(self.unexpected), _groups(self.unexpected)),
        ]
        lines = [f"weights from {self.source}: {self.parameters / 1e6:.2f} M parameters"]
        for name, count, groups in rows:
            if count:
                lines.append(f"  {name:<22}{count:>6} tensors")
                lines += textwrap.wrap(
                    groups, 78, initial_indent=" " * 6, subsequent_indent=" " * 6, break_on_hyphens=False
                )
        return "\n".join(lines)

    def log(self) -> LoadReport:
        logger.info(self.table())
        print(self.table())
        return self


def _groups(names: Iterable[str]) -> str:
    """The distinct three-level prefixes of parameter names, for a person to read."""
    prefixes: dict[str, int] = {}
    for name in names:
        prefix = ".".join(name.split(".")[:3])
        prefixes[prefix] = prefixes.get(prefix, 0) + 1
    shown = [f"{prefix} ({count})" for prefix, count in list(prefixes.items())[:6]]
    return ", ".join(shown) + (f", and {len(prefixes) - 6} more groups" if len(prefixes) > 6 else "")


def trained_names(network: nn.Module) -> list[str]:
    """Names of what training changes: parameters that require gradient, and buffers of modules that own such ones.

    An encoder of which some blocks learn is named whole: its file is to serve where the one it began with is not known.
    """
    names = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    trained = set(names)
    persistent = network.state_dict(keep_vars=True)
    for prefix, module in network.named_modules():
        own = [f"{prefix}.{name}" if prefix else name for name, _ in module.named_parameters(recurse=False)]
        if any(name in trained for name in own):
            buffers = [f"{prefix}.{name}" if prefix else name for name, _ in module.named_buffers(recurse=False)]
            names += [name for name in buffers if name in persistent]
    tuned = [f"{prefix}." for prefix, module in network.named_modules() if getattr(module, "is_frozen", True) is False]
    already = set(names)
    return names + [name for name in persistent if name.startswith(tuple(tuned)) and name not in already]


def shards_of(path: str | Path) -> list[Path]:
    """The files of a checkpoint: ``model.pt`` and, where it was split, ``model_2.pt``, ``model_3.pt``, ..."""
    first = Path(path)
    found, number = [first], 2
    while (shard := first.with_name(f"{first.stem}_{number}{first.suffix}")).is_file():
        found.append(shard)
        number += 1
    return found


def read_state(path: str | Path) -> dict[str, Tensor]:
    """State dict of ``.pt``/``.pth``/``.bin`` (``weights_only``) or ``.safetensors``, shards merged.

    Raises:
        WeightsError: the file is absent or cannot be read, or a shard of it is missing.
    """
    state: dict[str, Tensor] = {}
    expected = 1
    files = shards_of(path)
    for file in files:
        if not file.is_file():
            raise WeightsError(f"weights file {file} does not exist: train first, or give the path of a checkpoint")
        part = _read_file(file)
        marker = part.pop(SHARDS, torch.tensor(expected))
        expected = int(marker) if marker.numel() == 1 else 0
        state.update(part)
    if expected != len(files):
        raise WeightsError(f"weights {path} consist of {expected} files but {len(files)} are there: copy them all")
    return state


def _read_file(file: Path) -> dict[str, Tensor]:
    check_intact(file)
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        if isinstance(error, UnpicklingError) and "Unsupported global" in str(error):
            raise WeightsError(
                f"weights file {file} holds Python objects besides tensors, which could run code and are not loaded: "
                "have it saved again as a state dict or as safetensors"
            ) from error
        raise WeightsError(f"weights file {file} cannot be read ({type(error).__name__}): fetch it again") from error
    for key in ("model", "state_dict", "network"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        raise WeightsError(f"weights file {file} is no state dict (tensors by name): give another file")
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        raise WeightsError(f"weights file {file} holds no tensor: give another file")
    return tensors


def weights_sha256(path: str | Path) -> dict[str, str]:
    """SHA-256 of every file of a checkpoint, by file name."""
    return {file.name: sha256_of(file) for file in shards_of(path)}


def finite(value: Tensor, name: str, source: str) -> Tensor:
    """``value``, if each of its numbers is one.

    Raises:
        WeightsError: there is NaN or infinity in it.
    """
    if value.is_floating_point() and not bool(torch.isfinite(value).all()):
        raise WeightsError(f"{source}: {name!r} holds NaN or infinity: the file is damaged, or its training went wrong")
    return value


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name fits one of the patterns (``*`` wildcards)."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def load_parameters(
    network: nn.Module,
    state: Mapping[str, Tensor],
    *,
    source: str,
    required: Iterable[str] | None = None,
    may_miss: Iterable[str] = (),
    may_ignore: Iterable[str] = (),
) -> LoadReport:
    """Copy ``state`` into ``network``; modules with ``after_loading`` are then told.

    Args:
        network: receives the values, cast to its own precision.
        state: name to tensor.
        source: what to call it in messages.
        required: names that must be found; by default everything that training changes.
        may_miss: patterns (``*`` wildcards) of required names that may keep their initial values.
        may_ignore: patterns of names in ``state`` that have no place in the network and may be left out.

    Raises:
        WeightsError: a required name is absent, a name has no place, or a shape differs; the message names the first.
    """
    own = network.state_dict()
    required = list(trained_names(network) if required is None else required)
    report = LoadReport(source=source)
    for name, value in state.items():
        if name not in own:
            if not matches(name, may_ignore):
                raise WeightsError(f"{source} holds {name!r}, which this network does not have: check the preset")
            report.unused.append(name)
            continue
        if own[name].shape != value.shape:
            raise WeightsError(
                f"{source}: {name!r} has shape {tuple(value.shape)}, this network needs {tuple(own[name].shape)}"
            )
        own[name].copy_(finite(value, name, source))
        report.loaded.append(name)
        report.parameters += value.numel()
    found = set(report.loaded)
    absent = [name for name in required if name not in found]
    for name in absent:
        if not matches(name, may_miss):
            raise WeightsError(f"{source} lacks {name!r}, which this network needs: it is another model's or damaged")
    report.random = absent
    for module in network.modules():
        if hasattr(module, "after_loading"):
            module.after_loading()
    return report
