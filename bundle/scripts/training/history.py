"""History of a run, step by step: ``history.json``, ``curves.png``, the log, TensorBoard and MLflow."""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from ignite.engine import Events
from monai.utils import CommonKeys

from scripts.atomic import write_atomically, write_text_atomically
from scripts.distributed import collective_device, rank, world_size
from scripts.errors import InputError
from scripts.training.batches import loss_parts, scalars
from scripts.training.curves import draw_curves
from scripts.training.early_stop import is_stopped
from scripts.training.sinks import SINKS

logger = logging.getLogger(__name__)


class History:
    """Handler of a MONAI trainer: losses per branch, learning rate, gradient norm, validation metrics.

    ``history.json`` holds ``{"steps": [...], "epochs": [...]}``: in ``steps`` the means over ``every`` iterations with
    ``iteration``, ``epoch``, ``loss`` and its parts, ``learning_rate``, ``gradient_norm``, ``seconds``; in ``epochs``
    the means over the epoch and the evaluator's metrics. A resumed run continues the same file: give this handler to
    ``Checkpoints`` as one of its ``extras``. TensorBoard or MLflow that cannot be written (a full disk) is reported and
    left out until the next epoch; the run goes on.

    Args:
        output_dir: run folder.
        evaluator: MONAI evaluator whose scalar metrics are recorded, if any.
        every: iterations per record.
        curves: draw ``curves.png`` after every epoch.
        tensorboard: also write event files to ``output_dir/tensorboard``.
        mlflow: also log to a local MLflow database, ``output_dir/mlflow.db`` (needs the ``mlflow`` package).
    """

    def __init__(
        self,
        *,
        output_dir: str | os.PathLike[str],
        evaluator: Any | None = None,
        every: int = 10,
        curves: bool = True,
        tensorboard: bool = True,
        mlflow: bool = False,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.evaluator = evaluator
        self.every = max(1, every)
        self.curves = curves
        self.sinks = [name for name, wanted in (("tensorboard", tensorboard), ("mlflow", mlflow)) if wanted]
        self.steps: list[dict[str, float]] = []
        self.epochs: list[dict[str, float]] = []
        self._window, self._epoch = _Means(), _Means()
        self._since = time.monotonic()
        self._writers: dict[str, Any] | None = None

    def attach(self, engine: Any) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self._open)  # not STARTED: the run may first be resumed there
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._record_step)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._record_epoch)
        for event in (Events.COMPLETED, Events.TERMINATE):
            engine.add_event_handler(event, self._close)
        if self.evaluator is not None:
            # a run that is resumed before a validation has no epoch started yet
            self.evaluator.add_event_handler(Events.STARTED, lambda _: self._open(engine))
            self.evaluator.add_event_handler(Events.COMPLETED, self._record_validation)

    def state_dict(self) -> dict[str, Any]:
        return {
            "steps": [dict(step) for step in self.steps],
            "epochs": [dict(epoch) for epoch in self.epochs],
            "means": [self._window.state_dict(), self._epoch.state_dict()],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps, self.epochs = list(state["steps"]), list(state["epochs"])
        self._window.load_state_dict(state["means"][0])
        self._epoch.load_state_dict(state["means"][1])

    def show(self, name: str, image: torch.Tensor, text: str, iteration: int) -> None:
        """Put a picture ``[3, H, W]`` in [0, 1] and its text into TensorBoard and MLflow."""
        self._tell(lambda writer: writer.show(name, image, text, iteration))

    def _open(self, engine: Any) -> None:
        if self._writers is None:
            self._since, self._writers = time.monotonic(), {}
        if rank() > 0:
            return
        self.output_dir.mkdir(parents=True, exist_ok=True)
        for name in self.sinks:
            if name not in self._writers:
                self._open_sink(name, engine.state.iteration)

    def _open_sink(self, name: str, iteration: int) -> None:
        try:
            self._writers[name] = SINKS[name](self.output_dir, iteration)
        except InputError:  # not installed: a mistake in the configuration
            raise
        except Exception as error:  # noqa: BLE001  each fails in its own way
            logger.error("%s cannot be opened (%s); the next epoch tries again.", name, error)

    def _tell(self, action: Callable[[Any], None]) -> None:
        """Do something with every writer; one that fails is left out until the next epoch."""
        for name, writer in list((self._writers or {}).items()):
            try:
                action(writer)
            except Exception as error:  # noqa: BLE001  each fails in its own way
                del self._writers[name]
                logger.error("%s could not be written (%s); the run goes on, the next epoch tries again.", name, error)

    def _record_step(self, engine: Any) -> None:
        output = engine.state.output
        parts = loss_parts(output.get(CommonKeys.PRED))
        parts["loss"] = output[CommonKeys.LOSS].detach()
        if hasattr(engine.state, "gradient_norm"):
            parts["gradient_norm"] = torch.tensor(engine.state.gradient_norm, device=parts["loss"].device)
        self._window.add(parts)
        self._epoch.add(parts)
        iteration = engine.state.iteration
        if iteration % self.every == 0 or iteration % engine.state.epoch_length == 0:
            means = self._window.take()
            now = time.monotonic()
            means["learning_rate"] = engine.optimizer.param_groups[0]["lr"]
            self.steps.append(
                {"iteration": iteration, "epoch": engine.state.epoch, **means, "seconds": now - self._since}
            )
            self._since = now
            self._write_scalars("train", means, iteration)

    def _record_epoch(self, engine: Any) -> None:
        if is_stopped(engine):
            return
        means = self._epoch.take()
        entry = self._entry(engine.state.epoch)
        entry.update({"iteration": engine.state.iteration, **means})
        logger.info("epoch %d, iteration %d: %s", engine.state.epoch, engine.state.iteration, _in_words(entry))
        self._save()

    def _record_validation(self, evaluator: Any) -> None:
        metrics = scalars(evaluator.state.metrics)
        entry = self._entry(evaluator.state.epoch)
        entry.update({f"validation_{name}": value for name, value in metrics.items()})
        last = self.steps[-1]["iteration"] if self.steps else 0
        self._write_scalars("validation", metrics, int(last))
        self._save()

    def _entry(self, epoch: int) -> dict[str, float]:
        """The record of ``epoch``; validation and training may come in either order."""
        if not self.epochs or self.epochs[-1]["epoch"] != epoch:
            self.epochs.append({"epoch": epoch})
        return self.epochs[-1]

    def _write_scalars(self, group: str, values: dict[str, float], iteration: int) -> None:
        named = {f"{group}/{name}": value for name, value in values.items()}
        self._tell(lambda writer: writer.write(named, iteration))

    def _save(self) -> None:
        """Write the files; a full disk here must not end a training run."""
        if rank() > 0:
            return
        content = json.dumps(_json_safe({"steps": self.steps, "epochs": self.epochs}), indent=1)
        try:
            write_text_atomically(self.output_dir / "history.json", content)
            if self.steps and self.curves:
                figure = draw_curves(self.steps, self.epochs)
                write_atomically(self.output_dir / "curves.png", lambda file: figure.savefig(file, format="png"))
        except OSError as error:
            logger.error("history of the run could not be written to %s: %s.", self.output_dir, error)

    def _close(self, _: Any) -> None:
        self._save()
        self._tell(lambda writer: writer.close())
        self._writers = None


class _Means:
    """Sums of scalars that stay on the device until somebody asks."""

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor] = {}
        self._count = 0

    def add(self, values: dict[str, torch.Tensor]) -> None:
        for name, value in values.items():
            value = value.detach().double().reshape(())
            before = self._sums.get(name)
            self._sums[name] = value if before is None else before.to(value.device) + value
        self._count += 1

    def take(self) -> dict[str, float]:
        """Return the means over all processes, and begin anew; all processes must call it together."""
        if not self._sums:
            return {}
        device = next(reversed(self._sums.values())).device
        totals = torch.stack([total.to(device) for total in self._sums.values()]) / max(1, self._count)
        if world_size() > 1:
            totals = totals.to(collective_device())  # sums of a checkpoint are in main memory
            dist.all_reduce(totals)
            totals /= world_size()
        means = dict(zip(self._sums, totals.tolist(), strict=True))
        self._sums, self._count = {}, 0
        return means

    def state_dict(self) -> dict[str, Any]:
        return {"sums": {name: total.item() for name, total in self._sums.items()}, "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._sums = {name: torch.tensor(total, dtype=torch.float64) for name, total in state["sums"].items()}
        self._count = state["count"]


def _in_words(entry: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in entry.items() if name not in ("epoch", "iteration"))


def _json_safe(value: Any) -> Any:
    """JSON has no NaN: write null."""
    if isinstance(value, dict):
        return {key: _json_safe(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_json_safe(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
