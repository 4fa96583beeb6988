"""Early ends of a run: a signal from the machine, or no more progress."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from ignite.engine import Events

from scripts.distributed import collective_device, world_size
from scripts.errors import InputError

logger = logging.getLogger(__name__)


class StopSignal:
    """Remembers that the machine asked the run to end; all processes agree on the iteration at which it does.

    Schedulers send SIGTERM, and SIGUSR1 where asked for an early warning.
    """

    def __init__(self) -> None:
        self._numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)]
        self._before: dict[int, Any] = {}
        self._received = ""

    def listen(self) -> None:
        """Install the handlers; outside the main thread, where Python allows none, do nothing."""
        self._received = ""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._remember) for number in self._numbers}

    def restore(self) -> None:
        """Put back the handlers that were there before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def received(self) -> str:
        """Return the signal's name, or an empty string; with several processes, if any of them got one.

        All processes must call this at the same point.
        """
        if world_size() == 1:
            return self._received
        flag = torch.tensor(int(bool(self._received)), device=collective_device())
        dist.all_reduce(flag, op=dist.ReduceOp.MAX)
        return (self._received or "a signal to another process") if int(flag) else ""

    def _remember(self, number: int, _: FrameType | None) -> None:
        self._received = signal.Signals(number).name


def is_stopped(engine: Any) -> bool:
    """Tell handlers of an epoch's end that a signal has stopped the run there: the resumed run will do their work."""
    return engine.should_terminate == "skip_completed"


class EarlyStop:
    """Handler of a trainer: ends the run when the evaluator's key metric has not improved for a while.

    Args:
        evaluator: its ``key_metric`` and ``metric_cmp_fn`` decide what is better.
        patience: validations without improvement after which to stop; 0 never stops.

    Raises:
        InputError: ``patience`` is negative.
    """

    def __init__(self, *, evaluator: Any, patience: int) -> None:
        if patience < 0:
            raise InputError(f"early stopping needs a patience of 0 (never) or more validations, not {patience}.")
        self.evaluator = evaluator
        self.patience = patience
        self.waited = 0
        self._trainer: Any = None

    def attach(self, engine: Any) -> None:
        """Watch the evaluator on behalf of the trainer ``engine``."""
        self._trainer = engine
        engine.add_event_handler(Events.EPOCH_STARTED, self._stop_again)
        self.evaluator.add_event_handler(Events.COMPLETED, self._judge)

    def state_dict(self) -> dict[str, int]:
        return {"waited": self.waited}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.waited = state["waited"]

    def _judge(self, evaluator: Any) -> None:
        improved = evaluator.state.best_metric_epoch == evaluator.state.epoch
        self.waited = 0 if improved else self.waited + 1
        if self.patience and self.waited >= self.patience:
            logger.info("no better %s for %d validations: stopping.", evaluator.state.key_metric_name, self.waited)
            self._trainer.terminate()

    def _stop_again(self, trainer: Any) -> None:
        """A run that had stopped early and is resumed stays stopped, unless patience was raised."""
        if self.patience and self.waited >= self.patience:
            trainer.terminate()
