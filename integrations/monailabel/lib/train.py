"""Fine-tuning on reviewed captions: stage 2 goes on from the active version, and the result becomes active."""

from __future__ import annotations

import json
import logging
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monailabel.interfaces.tasks.train import TrainTask

from scripts.atomic import write_text_atomically
from scripts.data.reviewed import write_dataset
from scripts.predictor import InputError

from .caption_store import CaptionStore
from .training_run import follow
from .versions import Versions

logger = logging.getLogger(__name__)
LEAST = 2
SETTINGS: dict[str, Any] = {"epochs": 5, "learning_rate": 1e-4, "batch_size": 4, "activate": ""}
"""Shown to clients; ``activate`` names an older version (or ``bundle``) to go back to, instead of training."""


class CaptionTrainTask(TrainTask):
    """Runs the bundle's ``train.json`` with ``fine_tune.json`` over it, in a folder that becomes a version.

    Args:
        bundle: the bundle folder.
        versions: where the result goes.
    """

    def __init__(self, bundle: Path, versions: Versions) -> None:
        super().__init__("Fine-tunes the captioner on the captions that people reviewed")
        self.bundle = bundle
        self.versions = versions

    def config(self) -> dict[str, Any]:
        return dict(SETTINGS)

    def stats(self) -> dict[str, Any]:
        """The newest training's report, and what there is to go back to."""
        reports = sorted(self.versions.folder.glob("[0-9]*/report.json"))
        newest = json.loads(reports[-1].read_text(encoding="utf-8")) if reports else {}
        return {**newest, "versions": self.versions.names(), "active": self.versions.active().name}

    def __call__(self, request: Mapping[str, Any], datastore: CaptionStore) -> dict[str, Any]:
        """Train, or go back to ``request["activate"]``.

        Raises:
            InputError: fewer than two reviewed captions, a setting that cannot be, or a training that failed.
        """
        settings = _settings(request)
        if settings["activate"]:
            return {"active": self.versions.activate(settings["activate"]).name}
        reviewed = datastore.reviewed()
        if len(reviewed) < LEAST:
            raise InputError(
                f"{len(reviewed)} captions are reviewed; correct and save at least {LEAST} before training"
            )
        start = time.time()
        base = self.versions.active()
        folder = self.versions.new_folder()
        try:
            counts = write_dataset(reviewed, folder / "data")
            weights = base.weights or self.bundle / "models" / "model.pt"
            self._train(folder, weights, settings)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)  # a version is whole or not there
            raise
        report = {
            "version": folder.name,
            "started_from": base.name,
            **counts,
            **{name: settings[name] for name in ("epochs", "learning_rate", "batch_size")},
            "validation_loss": _losses(folder),
            "seconds": round(time.time() - start, 1),
        }
        write_text_atomically(folder / "report.json", json.dumps(report, indent=1))
        self.versions.activate(folder.name)
        logger.info("Version %s is active: %s", folder.name, report)
        return report

    def _train(self, folder: Path, weights: Path, settings: Mapping[str, Any]) -> None:
        """``monai.bundle run training`` in a process of its own; keeps ``model.pt`` and the log of the run."""
        configs = self.bundle / "configs"
        run = folder / "run"
        values = {
            "config_file": str([str(configs / "train.json"), str(configs / "fine_tune.json")]),
            "logging_file": str(configs / "logging.conf"),
            "bundle_root": str(self.bundle),
            "dataset_dir": str(folder / "data"),
            "weights": str(weights),
            "output_dir": str(run),
            "feature_cache_dir": str(folder / "features"),
            **{name: str(settings[name]) for name in ("epochs", "learning_rate", "batch_size")},
        }
        command = [sys.executable, "-m", "monai.bundle", "run", "training"]
        command += [part for name, value in values.items() for part in (f"--{name}", value)]
        code, said = follow(command)
        if code != 0 or not (run / "model.pt").is_file():
            print("\n".join(said))
            reason = said[-1].strip()[:300] if said else "no output"
            raise InputError(f"the training ended with exit code {code}: {reason}")
        (run / "model.pt").replace(folder / "model.pt")
        for name in ("history.json", "curves.png"):
            if (run / name).is_file():
                (run / name).replace(folder / name)
        for leftover in (run, folder / "features", folder / "data" / "images"):
            shutil.rmtree(leftover, ignore_errors=True)


def _settings(request: Mapping[str, Any]) -> dict[str, Any]:
    settings = {name: request.get(name, default) for name, default in SETTINGS.items()}
    for name, high in (("epochs", 100), ("batch_size", 256)):
        value = settings[name]
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= high:
            raise InputError(f"{name} is {value!r}; give a whole number from 1 to {high}")
    rate = settings["learning_rate"]
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate <= 0.1:
        raise InputError(f"learning_rate is {rate!r}; give a number above 0 and at most 0.1")
    return settings


def _losses(folder: Path) -> list[float]:
    """Validation loss after each epoch, as the run wrote it down."""
    try:
        history = json.loads((folder / "history.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [round(entry["validation_val_loss"], 4) for entry in history["epochs"] if "validation_val_loss" in entry]
