"""Run record: the folder of what is needed to know, later, what a run was."""

from __future__ import annotations

import json
import logging
import os
import platform
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events

from scripts.atomic import write_text_atomically
from scripts.command_line import named_configs
from scripts.distributed import rank, world_size
from scripts.folder_lock import FolderLock
from scripts.metrics.versions import installed

_PACKAGES = ("torch", "monai", "pytorch-ignite", "transformers", "numpy", "safetensors", "pydicom", "nibabel", "pillow")


class RunRecord:
    """Handler of a trainer that fills the run folder when the run starts.

    ``run.json``: command, start time, seed, versions, machine, world size, and one entry per resumption. ``configs/``:
    copies of the config files. ``log.txt``: the log.

    Args:
        output_dir: run folder.
        seed: as given to ``set_determinism``.
        config_files: files to copy; None takes those of ``--config_file`` on the command line.
        settings: values to record besides, such as batch size and learning rate.
    """

    def __init__(
        self,
        *,
        output_dir: str | os.PathLike[str],
        seed: int | None = None,
        config_files: Sequence[str] | None = None,
        settings: dict[str, Any] | None = None,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.seed = seed
        self.config_files = list(config_files) if config_files is not None else named_configs(sys.argv)
        self.settings = dict(settings or {})
        self._written = False

    def attach(self, engine: Any) -> None:
        if rank() == 0:
            self.output_dir.mkdir(parents=True, exist_ok=True)
            log_to(self.output_dir / "log.txt")
            # not STARTED: the run may first be resumed there, and the record says from where
            engine.add_event_handler(Events.EPOCH_STARTED, self._write)

    def _write(self, engine: Any) -> None:
        if self._written:
            return
        self._written = True
        folder = self.output_dir / "configs"
        folder.mkdir(parents=True, exist_ok=True)
        for file in self.config_files:
            if os.path.isfile(file):
                shutil.copy(file, folder / os.path.basename(file))
        path = self.output_dir / "run.json"
        starts = _earlier_starts(path)
        start = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "command": shlex.join(sys.argv)}
        record = {
            **self.settings,
            "seed": self.seed,
            "epochs": engine.state.max_epochs,
            "batches_per_epoch": engine.state.epoch_length,
            "starts": [*starts, {**start, "iteration": engine.state.iteration}],
            "versions": versions(),
            "machine": machine(),
        }
        write_text_atomically(path, json.dumps(record, indent=1, default=str))


def run_lock(folder: str | os.PathLike[str]) -> FolderLock:
    """The lock that says that a training run writes to ``folder``."""
    return FolderLock(folder, "training")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide results."""
    return {name: version for name, version in installed(_PACKAGES).items() if version}


def machine() -> dict[str, Any]:
    """Return what the run computes on; no host or user names."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {"system": platform.platform(), "threads": torch.get_num_threads(), "gpus": gpus, "processes": world_size()}


def log_to(path: str | os.PathLike[str]) -> None:
    """Append what this project and the engines log at INFO, and all others at WARNING, to ``path`` as well.

    What the console shows stays as ``logging.conf`` has it: its handler there has a level of its own.
    """
    root = logging.getLogger()
    for name in ("scripts", "ignite", "monai"):
        logging.getLogger(name).setLevel(logging.INFO)
    target = os.path.abspath(path)
    if any(getattr(handler, "baseFilename", None) == target for handler in root.handlers):
        return
    handler = logging.FileHandler(target, encoding="utf-8")
    handler.setLevel(logging.INFO)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root.addHandler(handler)


def _earlier_starts(path: Path) -> list[Any]:
    try:
        return list(json.loads(path.read_text(encoding="utf-8"))["starts"])
    except (OSError, ValueError, KeyError, TypeError):
        return []
