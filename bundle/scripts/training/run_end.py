"""The last words of a training run: where its model is, how good the best validation was, and what comes next."""

from __future__ import annotations

import math
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Events

from scripts.command_line import named_configs
from scripts.distributed import rank
from scripts.training.early_stop import is_stopped

_NEXT = {  # stage -> what comes next, how it is run, the configs in the place of the stage's own, what takes the model
    "pretrain": [("stage 2", ["run", "training"], ["train.json"], "--pretrained")],
    "train": [
        ("caption", ["run"], ["inference.json"], "--weights"),
        ("score", ["run"], ["train.json", "evaluate.json"], "--weights"),
    ],
}
_OF_ONE_RUN = {  # overlays that say how a run trains; all others say what the network is, and hold for what follows
    f"{name}.json"
    for name in ("augmented", "best_caption", "fine_tune", "fsdp", "multi_gpu", "no_pretraining", "random_start")
}
_KEPT = ("bundle_root", "dataset_dir", "datalist", "feature_cache_dir")


class RunEnd:
    """Handler of a trainer: prints the end of a run on its first process, after the last checkpoint.

    Args:
        checkpoints: the run's ``Checkpoints``; give it to the trainer before this handler.
        stage: ``pretrain`` or ``train`` names the next command; ``""`` does not.
    """

    def __init__(self, *, checkpoints: Any, stage: str = "") -> None:
        self.checkpoints = checkpoints
        self.stage = stage

    def attach(self, engine: Any) -> None:
        # The checkpoints add their own handler of the end when the run starts: this one comes after it.
        engine.add_event_handler(Events.STARTED, lambda engine: engine.add_event_handler(Events.COMPLETED, self._say))

    def _say(self, engine: Any) -> None:
        if rank() > 0 or is_stopped(engine):
            return
        model = self.checkpoints.folder / "model.pt"
        print(f"model: {_short(model)} ({self._best(engine)})")
        if (curves := model.with_name("curves.png")).is_file():
            print(f"curves: {_short(curves)}")
        for what, command in next_commands(sys.argv, self.stage, model):
            print(f"next, {what}: {command}")

    def _best(self, engine: Any) -> str:
        epochs = f"{engine.state.epoch} epoch{'s' if engine.state.epoch != 1 else ''}"
        if not self.checkpoints.best.entries:
            return f"the last of {epochs}; no validation chose it"
        metric, epoch, _ = self.checkpoints.best.entries[0]
        name = self.checkpoints.evaluator.state.key_metric_name
        shown = f"{metric:.4f}" if math.isfinite(metric) else "not finite"
        return f"best of {epochs}: epoch {epoch}, {name} {shown}"


def next_commands(arguments: Sequence[str], stage: str, model: Path) -> list[tuple[str, str]]:
    """What may follow, and the command for it: the run's own configs and data, the stage's config exchanged.

    Args:
        arguments: of the run that ends, ``sys.argv``; without a config file there is nothing to say.
        stage: ``pretrain``, ``train`` or ``""``.
        model: the checkpoint that the run wrote.
    """
    files = named_configs(arguments)
    own = [file for file in files if Path(file).name == f"{stage}.json"]
    if not own:
        return []
    found = []
    for what, run, configs, option in _NEXT[stage]:
        named = []
        for file in (file for file in files if Path(file).name not in _OF_ONE_RUN):
            named += [str(Path(file).with_name(config)) for config in configs[:1]] if file == own[0] else [file]
        named += [str(Path(own[0]).with_name(config)) for config in configs[1:]]
        listed = ",".join(f"'{name}'" for name in named)
        config = shlex.quote(named[0]) if len(named) == 1 else f'"[{listed}]"'
        words = _kept(arguments, without=("dataset_dir", "datalist") if what == "caption" else ())
        words += ["--dataset_dir", "IMAGES"] if what == "caption" else []
        words += [option, _short(model)]
        found.append((what, f"python -m monai.bundle {' '.join(run)} --config_file {config} {shlex.join(words)}"))
    return found


def _kept(arguments: Sequence[str], *, without: Sequence[str]) -> list[str]:
    """Those options of the run that the next one needs, too."""
    kept: list[str] = []
    for name in _KEPT:
        for at, argument in enumerate(arguments):
            if argument == f"--{name}" and at + 1 < len(arguments) and name not in without:
                kept += [argument, arguments[at + 1]]
            elif argument.startswith(f"--{name}=") and name not in without:
                kept.append(argument)
    return kept


def _short(path: Path) -> str:
    """Relative to the working folder where it lies below it, else as it is."""
    whole, here = os.path.abspath(path), os.getcwd() + os.sep
    return whole.removeprefix(here)
