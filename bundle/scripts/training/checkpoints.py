"""Checkpoints that resume exactly: a killed run goes on as if nothing had happened, bit for bit on CPU.

What MONAI's saver and loader leave out and this keeps: the best metric, the place in the shuffled data, the random
state of every process, handlers' own state; and it writes trained parameters only, atomically.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from torch import nn

from scripts.atomic import remove_leftovers
from scripts.data.epoch_sampler import EpochSampler
from scripts.distributed import gather_objects, rank, world_size
from scripts.errors import InputError
from scripts.networks.lora import ALPHA_NAMES
from scripts.training.best import BestModels
from scripts.training.checkpoint_files import FORMAT, checkpoint_files, move_aside, read_checkpoint
from scripts.training.early_stop import StopSignal, is_stopped
from scripts.training.gradients import is_optimizer_step, optimizer_steps
from scripts.training.optimization import WarmupCosine, load_optimizer
from scripts.training.random_state import capture_random_state, restore_random_state
from scripts.training.resumable import bare_network, resumable_names
from scripts.training.run_origin import check_origin, command_line_settings, data_origin
from scripts.training.run_record import run_lock
from scripts.training.weight_average import WeightAverage
from scripts.weights.intact import write_sealed
from scripts.weights.loading import load_parameters

logger = logging.getLogger(__name__)


class Checkpoints:
    """Handler of a MONAI trainer that saves and resumes everything. Put it first in the list of handlers.

    Files in ``folder``: ``checkpoint_<iteration>.pt`` (the newest ``keep_last``, full state), ``model.pt`` (trained
    parameters of the best validated epoch; of the last one without validation) and ``model_epoch=...pt`` (the
    ``keep_best`` best). A run that went back (resumed from an earlier file, or with fewer batches an epoch) moves
    the checkpoints ahead of it aside once it has saved its own.

    Args:
        folder: where files go.
        network: its trained parameters are saved; frozen ones are not.
        optimizer: saved with it.
        scheduler: learning-rate schedule, if any.
        evaluator: MONAI evaluator whose best metric is kept, if any.
        average: moving averages of weights, if any: they are what ``model.pt`` holds.
        extras: name to handler with ``state_dict`` and ``load_state_dict`` (history, early stopping).
        resume: ``auto`` goes on from the newest usable checkpoint in ``folder``, or starts; a path goes on from
            that file; empty starts afresh and moves older files of ``folder`` aside.
        save_every: also save at the first optimizer step so many iterations after a save; 0 saves at epoch ends only.
        keep_last: full checkpoints to keep; the second is there in case the disk damages the newest.
        keep_best: best models to keep.
        settings: of the run, by name, for a resumed run to be compared with; None takes those of the command line.

    Raises:
        InputError: ``resume`` names no usable checkpoint, it is of the middle of an epoch with other data or settings,
            or another run writes to ``folder`` (when the run starts).
    """

    def __init__(
        self,
        *,
        folder: str | os.PathLike[str],
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        scheduler: Any | None = None,
        evaluator: Any | None = None,
        extras: Mapping[str, Any] | None = None,
        average: WeightAverage | None = None,
        resume: str = "auto",
        save_every: int = 0,
        keep_last: int = 2,
        keep_best: int = 1,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.network = bare_network(network)
        self.names = resumable_names(self.network)
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.evaluator = evaluator
        self.extras = dict(extras or {})
        self.average = average
        self.resume = resume
        self.save_every = save_every
        self.keep_last = max(1, keep_last)
        self.best = BestModels(folder=self.folder, network=self.network, evaluator=evaluator, keep=keep_best)
        self.settings = command_line_settings() if settings is None else dict(settings)
        self.lock = run_lock(self.folder)
        self.signal = StopSignal()
        self._random_state: dict[str, Any] | None = None
        self._random_state_of_end: dict[str, Any] | None = None  # of an epoch whose end is not done
        self._awaits_validation = False
        self._common_batches = 0
        self._failed_save: str | None = None
        self._saved_iteration = 0

    def attach(self, engine: Any) -> None:
        """Resume when ``engine`` starts; save when all other handlers of an iteration or epoch are done."""
        engine.add_event_handler(Events.STARTED, self._start)

    # ------------------------------------------------------------------ saving

    def save(self, engine: Any, *, awaits_validation: bool = False) -> Path | None:
        """Write a checkpoint of the present state; returns its path on the first process, None elsewhere.

        A full disk is reported and the run goes on: the earlier checkpoints are untouched, the next save tries again.

        Args:
            engine: the trainer.
            awaits_validation: the epoch's iterations are done, but its end is not: validation, record, best model. The
                random state kept is that before them, so that a resumed run begins with them.
        """
        extras = {name: extra.state_dict() for name, extra in self.extras.items()}
        random_state = self._random_state_of_end if awaits_validation else capture_random_state()
        processes = gather_objects({"random": random_state, "extras": extras})
        self._saved_iteration = engine.state.iteration
        if rank() > 0:
            return None
        path = self.folder / f"checkpoint_{engine.state.iteration:08d}.pt"
        state = self._state(engine, processes)
        state["engine"]["awaits_validation"] = awaits_validation
        try:
            write_sealed(path, state)
        except OSError as error:
            newest = next(iter(checkpoint_files(self.folder)), None)
            self._failed_save = f"checkpoint {path} could not be written ({error}); free disk space"
            logger.error("%s. The newest one is still %s.", self._failed_save, newest)
            return None
        self._failed_save = None
        self._keep_newest(path)
        return path

    def _keep_newest(self, written: Path) -> None:
        """Drop the oldest checkpoints; those ahead of ``written`` are of a course that this run has left."""
        files = checkpoint_files(self.folder)
        ahead, own = files[: files.index(written)], files[files.index(written) :]
        if ahead:
            aside = move_aside(self.folder, ahead)
            logger.info("this run went back: moved %d later checkpoints to %s.", len(ahead), aside)
        for old in own[self.keep_last :]:
            old.unlink(missing_ok=True)

    def _state(self, engine: Any, processes: list[Any]) -> dict[str, Any]:
        state = engine.state
        return {
            "format": FORMAT,
            "network": self._network_state(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict() if self.scheduler is not None else None,
            "scaler": engine.scaler.state_dict() if engine.scaler is not None else None,
            "engine": {"iteration": state.iteration, "epoch": state.epoch, "epoch_length": state.epoch_length},
            "evaluator": self._evaluator_state(),
            "best": self.best.state_dict(),
            "processes": processes,
            "origin": self._origin(engine),
        }

    def _origin(self, engine: Any) -> dict[str, Any]:
        return {"data": data_origin(getattr(engine.data_loader, "dataset", None)), "settings": self.settings}

    def _network_state(self) -> dict[str, torch.Tensor]:
        own = {} if self.average is None else self.average.set_aside
        state = self.network.state_dict() | own
        return {name: state[name].detach() for name in self.names}

    def _evaluator_state(self) -> dict[str, Any] | None:
        if self.evaluator is None:
            return None
        state = self.evaluator.state
        return {"best_metric": float(state.best_metric), "best_metric_epoch": int(state.best_metric_epoch)}

    # ---------------------------------------------------------------- resuming

    def load(self, engine: Any, path: str | os.PathLike[str]) -> None:
        """Put everything back as it was when ``path`` was written.

        Raises:
            InputError: the file cannot be read, is no checkpoint of this project, or other parameters were trained.
            WeightsError: it is of another network.
        """
        self._restore(engine, path, read_checkpoint(path))

    def _restore(self, engine: Any, path: str | os.PathLike[str], state: dict[str, Any]) -> None:
        inside = state["engine"]["iteration"] % state["engine"]["epoch_length"] != 0
        check_origin(state.get("origin") or {}, self._origin(engine), path, inside=inside)
        options = {"required": self.names, "may_miss": (ALPHA_NAMES,)}
        load_parameters(self.network, state["network"], source=str(path), **options)
        try:
            load_optimizer(self.optimizer, state["optimizer"], scheduled=self.scheduler is not None)
        except ValueError as error:
            raise InputError(
                f"checkpoint {path} was written while other parameters were trained ({error}); train the same ones, "
                "or set resume to '' and start from its model.pt."
            ) from error
        if self.scheduler is not None and state["scheduler"] is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        if engine.scaler is not None and state["scaler"] is not None:
            engine.scaler.load_state_dict(state["scaler"])
        if self.evaluator is not None and state["evaluator"] is not None:
            self.evaluator.state.best_metric = state["evaluator"]["best_metric"]
            self.evaluator.state.best_metric_epoch = state["evaluator"]["best_metric_epoch"]
        self.best.load_state_dict(state["best"])
        self._load_process(state["processes"])
        self._resume_position(engine, state["engine"])
        self._saved_iteration = -1 if self._awaits_validation else engine.state.iteration
        logger.info("resumed from %s: epoch %d, iteration %d.", path, engine.state.epoch, engine.state.iteration)

    def _resume_position(self, engine: Any, saved: dict[str, int]) -> None:
        self._awaits_validation = bool(saved.get("awaits_validation"))
        length = engine.state.epoch_length
        epochs, inside = divmod(saved["iteration"], saved["epoch_length"])
        sampler, batch_size = _sampler_of(engine)
        if inside and (length != saved["epoch_length"] or sampler is None):
            logger.warning(
                "%s: epoch %d is started again from its first batch.",
                "the data loader has no EpochSampler" if sampler is None else "the number of batches has changed",
                epochs + 1,
            )
            inside, self._random_state = 0, None
        if inside:
            sampler.resume_at(inside * batch_size)
        engine.state.epoch = epochs
        engine.state.iteration = epochs * length + inside
        if isinstance(self.scheduler, WarmupCosine):  # the count saved is of an epoch that may have had other steps
            self.scheduler.step(optimizer_steps(engine))
        # Creating the data iterator draws a number. In the middle of an epoch that has happened before the save.
        moment = Events.GET_BATCH_STARTED if inside else Events.EPOCH_STARTED
        engine.add_event_handler(moment, self._restore_random_state)

    def _restore_random_state(self) -> None:
        if self._random_state is not None:
            restore_random_state(self._random_state)
        self._random_state = None

    def _load_process(self, processes: list[dict[str, Any]]) -> None:
        """Take up what this process had of its own; a process that is new takes the first one's extras."""
        known = rank() < len(processes)
        if not known or len(processes) != world_size():
            logger.warning("the checkpoint is of %d processes: random numbers will differ from it.", len(processes))
        own = processes[rank() if known else 0]
        for name, extra in self.extras.items():
            if name in own["extras"]:
                extra.load_state_dict(own["extras"][name])
        self._random_state = own["random"] if known else None

    # ------------------------------------------------------------------ events

    def _start(self, engine: Any) -> None:
        if rank() == 0:
            self.lock.acquire()
            remove_leftovers(self.folder)
        try:
            self._resume(engine)
        except BaseException:
            self.lock.release()
            raise
        self.signal.listen()
        # Added only now, so that they run after the handlers of the configuration.
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._after_iteration)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._after_epoch)
        engine.add_event_handler(Events.COMPLETED, self._after_run)
        engine.add_event_handler(Events.TERMINATE, self._let_go)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._after_failure)
        if self.evaluator is not None:
            self.evaluator.add_event_handler(Events.STARTED, self._before_validation_batches)
            self.evaluator.add_event_handler(Events.ITERATION_COMPLETED, self._after_validation_batch, engine)
        if self._awaits_validation:
            engine.add_event_handler(Events.STARTED, self._end_epoch)

    def _resume(self, engine: Any) -> None:
        if self.resume == "auto":
            for path in checkpoint_files(self.folder):
                try:
                    state = read_checkpoint(path)
                except InputError as error:
                    logger.warning("%s Trying the one before.", error)
                    continue
                return self._restore(engine, path, state)
        elif self.resume:
            self.load(engine, self.resume)
        elif rank() == 0:
            self._start_afresh()
        return None

    def _start_afresh(self) -> None:
        files = [*checkpoint_files(self.folder), *self.folder.glob("model*.pt")]
        if files:
            aside = move_aside(self.folder, files)
            logger.info("resume is empty: moved %d files of an earlier run to %s.", len(files), aside)

    def _after_iteration(self, engine: Any) -> None:
        name = self.signal.received()
        if engine.state.iteration % engine.state.epoch_length == 0:
            self._after_last_iteration(engine, name)
        elif not is_optimizer_step(engine):
            return  # half-summed gradients are not saved
        elif name:
            self._stop(engine, name)
        elif self.save_every and engine.state.iteration - self._saved_iteration >= self.save_every:
            self.save(engine)

    def _after_last_iteration(self, engine: Any, name: str) -> None:
        """From here on a signal need not wait for the validation, unless that would lose metrics of the training."""
        if engine.state.key_metric_name is None:
            self._random_state_of_end = capture_random_state()
            if name:
                self._stop(engine, name, awaits_validation=True)

    def _before_validation_batches(self, evaluator: Any) -> None:
        """All processes look for a signal after as many batches; some may have one more than others."""
        self._common_batches = min(gather_objects(evaluator.state.epoch_length or 0))

    def _after_validation_batch(self, evaluator: Any, engine: Any) -> None:
        if self._random_state_of_end is None or evaluator.state.iteration > self._common_batches:
            return
        name = self.signal.received()
        if name:
            self._stop(engine, name, awaits_validation=True)
            evaluator.terminate(skip_completed=True)

    def _after_epoch(self, engine: Any) -> None:
        self._random_state_of_end = None
        if is_stopped(engine):
            return
        self.best.update(engine)
        if self.average is not None:
            self.average.take_out()
        name = self.signal.received()
        if name:
            self._stop(engine, name)
        else:
            self.save(engine)

    def _end_epoch(self, engine: Any) -> None:
        """Do what the stopped run left of its epoch: validate, record, keep the best."""
        self._restore_random_state()
        self._random_state_of_end = capture_random_state()
        engine.fire_event(Events.EPOCH_COMPLETED)
        self._random_state = capture_random_state()  # for the next epoch's start

    def _stop(self, engine: Any, name: str, *, awaits_validation: bool = False) -> None:
        path = self.save(engine, awaits_validation=awaits_validation)
        engine.terminate(skip_completed=True)
        if self._failed_save:
            raise InputError(f"{name}: {self._failed_save} and run again with resume 'auto'.")
        if rank() == 0:
            logger.warning("%s: saved %s; run again with resume 'auto' to go on.", name, path)

    def _let_go(self) -> None:
        self.signal.restore()
        self.lock.release()

    def _after_run(self, engine: Any) -> None:
        self.signal.restore()
        if self._saved_iteration != engine.state.iteration or any(gather_objects(bool(self._failed_save))):
            self.save(engine)
        if rank() == 0 and not self.best.entries:
            self._save_last()
        self.lock.release()
        if self._failed_save:
            raise InputError(f"{self._failed_save} and run again with resume 'auto'.")

    def _save_last(self) -> None:
        if self.average is not None:
            self.average.put_in()
        self.best.save_last()

    def _after_failure(self, _: Any, error: BaseException) -> None:
        self._let_go()
        raise error


def _sampler_of(engine: Any) -> tuple[EpochSampler | None, int]:
    loader = engine.data_loader
    sampler = getattr(loader, "sampler", None)
    batch_size = getattr(loader, "batch_size", None)
    return (sampler, batch_size) if isinstance(sampler, EpochSampler) and batch_size else (None, 0)
