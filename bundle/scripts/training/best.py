"""The best models of a run, by the evaluator's key metric."""

from __future__ import annotations

import logging
import math
import os
import shutil
from pathlib import Path
from typing import Any

from torch import nn

from scripts.atomic import write_atomically
from scripts.distributed import rank
from scripts.errors import InputError
from scripts.weights.intact import write_sealed
from scripts.weights.saving import trained_state

logger = logging.getLogger(__name__)


def lower_is_better(new: float, best: float) -> bool:
    """``metric_cmp_fn`` of a MONAI evaluator for losses; what is not finite is worse than any number."""
    return math.isfinite(new) and (not math.isfinite(best) or new < best)


def higher_is_better(new: float, best: float) -> bool:
    """``metric_cmp_fn`` of a MONAI evaluator for scores; what is not finite is worse than any number."""
    return math.isfinite(new) and (not math.isfinite(best) or new > best)


class BestModels:
    """Keeps ``model_epoch=<e>_<metric>=<v>.pt`` of the best epochs and ``model.pt``, a copy of the best.

    The files hold a plain state dict of trained parameters. Every process tracks the same list; the first writes.

    Args:
        folder: where files go.
        network: trained parameters are taken from it.
        evaluator: MONAI evaluator with a key metric and ``metric_cmp_fn(new, old)``; None keeps nothing.
        keep: how many.
    """

    def __init__(self, *, folder: Path, network: nn.Module, evaluator: Any | None, keep: int) -> None:
        self.folder = folder
        self.network = network
        self.evaluator = evaluator
        self.keep = max(1, keep)
        self.entries: list[tuple[float, int, str]] = []  # metric, epoch, file name; best first

    def update(self, engine: Any) -> None:
        """Take in the validation of the epoch that ``engine`` has just finished, if there was one."""
        evaluator = self.evaluator
        if evaluator is None or evaluator.state.key_metric_name is None:
            return
        epoch, name = engine.state.epoch, evaluator.state.key_metric_name
        if evaluator.state.epoch != epoch or any(entry[1] == epoch for entry in self.entries):
            return  # no validation in this epoch
        metric = float(evaluator.state.metrics[name])
        place = sum(not self._is_better(metric, entry[0]) for entry in self.entries)
        if place >= self.keep:
            return
        entry = (metric, epoch, f"model_epoch={epoch:03d}_{name}={metric:.4f}.pt")
        if self._write(entry[2], is_best=place == 0):
            self.entries.insert(place, entry)
            self._forget(self.entries[self.keep :])
            self.entries = self.entries[: self.keep]

    def save_last(self) -> None:
        """Write ``model.pt`` from the network as it is now; for runs without validation.

        Raises:
            InputError: it cannot be written.
        """
        path = self.folder / "model.pt"
        try:
            write_sealed(path, trained_state(self.network))
        except OSError as error:
            raise InputError(
                f"{path} could not be written ({error}); free disk space and run again with resume 'auto'."
            ) from error

    def state_dict(self) -> list[list[Any]]:
        return [list(entry) for entry in self.entries]

    def load_state_dict(self, state: list[list[Any]]) -> None:
        self.entries = [(entry[0], entry[1], entry[2]) for entry in state]

    def _is_better(self, new: float, old: float) -> bool:
        """As the evaluator judges numbers; NaN, which no comparison holds for, never stays before one."""
        if not (math.isfinite(new) and math.isfinite(old)):
            return math.isfinite(new)
        return bool(self.evaluator.metric_cmp_fn(new, old))

    def _write(self, name: str, *, is_best: bool) -> bool:
        """Write on the first process; a full disk is reported, and training goes on."""
        if rank() > 0:
            return True
        try:
            path = write_sealed(self.folder / name, trained_state(self.network))
            if is_best:
                with path.open("rb") as source:
                    write_atomically(self.folder / "model.pt", lambda file: shutil.copyfileobj(source, file))
        except OSError as error:
            logger.error("the best model so far, %s, could not be written: %s. Free disk space.", name, error)
            return False
        return True

    def _forget(self, entries: list[tuple[float, int, str]]) -> None:
        if rank() > 0:
            return
        for _, _, name in entries:
            (self.folder / os.path.basename(name)).unlink(missing_ok=True)
