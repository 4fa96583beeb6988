"""Checkpoint files of a run's folder: found, read, set aside."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from scripts.errors import InputError
from scripts.weights.intact import damage

FORMAT = 1


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a checkpoint file into main memory, without running anything that it holds.

    Raises:
        InputError: the file is missing, damaged, or no checkpoint of this project.
    """
    if not os.path.isfile(path):
        raise InputError(f"checkpoint {path} does not exist; set resume to 'auto', a file, or nothing.")
    reason = damage(path)
    if reason:
        raise InputError(f"checkpoint {path} is damaged ({reason}).")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files fail in many ways
        raise InputError(f"checkpoint {path} cannot be read ({str(error).splitlines()[0]}).") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise InputError(f"{path} is not a checkpoint of a training run; to start from weights, load them instead.")
    return state


def checkpoint_files(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the full checkpoints in ``folder``, newest first."""
    return sorted(Path(folder).glob("checkpoint_*.pt"), reverse=True)


def move_aside(folder: Path, files: Sequence[Path]) -> Path:
    """Keep files where they cannot be taken for this run's; returns the folder."""
    aside = folder / time.strftime("before_%Y%m%d_%H%M%S")
    aside.mkdir(exist_ok=True)
    for file in files:
        file.rename(aside / file.name)
    return aside
