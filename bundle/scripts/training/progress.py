"""A progress bar per epoch: rate, time left, loss parts."""

from __future__ import annotations

import sys
from typing import Any

from ignite.engine import Events
from monai.utils import CommonKeys
from tqdm import tqdm

from scripts.distributed import rank
from scripts.training.batches import loss_parts


class ProgressBar:
    """Handler of a trainer or evaluator; shows on the first process only.

    Args:
        name: what the bar is called, such as ``train`` or ``validate``.
        every: iterations between looks at the losses, which make a GPU wait.
        interval: seconds between redraws; None chooses 0.1 on a terminal and 10 in a log file.
    """

    def __init__(self, *, name: str = "train", every: int = 10, interval: float | None = None) -> None:
        self.name = name
        self.every = max(1, every)
        terminal = sys.stderr.isatty()
        self.interval = (0.1 if terminal else 10.0) if interval is None else interval
        self._bar: tqdm | None = None

    def attach(self, engine: Any) -> None:
        if rank() > 0:
            return
        engine.add_event_handler(Events.EPOCH_STARTED, self._open)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._advance)
        for event in (Events.EPOCH_COMPLETED, Events.TERMINATE, Events.COMPLETED):
            engine.add_event_handler(event, self._close)

    def _open(self, engine: Any) -> None:
        length = engine.state.epoch_length
        several = (engine.state.max_epochs or 1) > 1 and self.name == "train"
        self._bar = tqdm(
            total=length,
            initial=engine.state.iteration % length if length else 0,
            desc=f"{self.name} {engine.state.epoch}/{engine.state.max_epochs}" if several else self.name,
            unit="batch",
            mininterval=self.interval,
            dynamic_ncols=True,
            leave=True,
        )

    def _advance(self, engine: Any) -> None:
        if self._bar is None:
            return
        ends = self._bar.total is not None and self._bar.n + 1 >= self._bar.total
        if engine.state.iteration % self.every == 0 or ends:
            output = engine.state.output
            parts = loss_parts(output.get(CommonKeys.PRED)) if isinstance(output, dict) else {}
            shown = {name: f"{value.item():.3f}" for name, value in parts.items()}
            self._bar.set_postfix(shown, refresh=False)
        self._bar.update(1)

    def _close(self, _: Any) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar = None
