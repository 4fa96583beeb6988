"""A small run that is dropped or signalled in the middle."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from ignite.engine import Events
from small_run import make_run

PER_EPOCH = 5  # 22 cases, batches of 4, the last dropped


class KilledError(Exception):
    """Stands for a kill: nothing after it runs."""


def run_until(folder: Path, iteration: int, **options: Any) -> None:
    """Run, and drop everything right after ``iteration``."""
    trainer = make_run(folder, **options)

    def stop(engine: Any) -> None:
        if engine.state.iteration == iteration:
            raise KilledError

    trainer.add_event_handler(Events.ITERATION_STARTED, stop)
    with pytest.raises(KilledError):
        trainer.run()


def signal_when(engine: Any, event: Any, iteration: int, epoch: int = 0) -> None:
    """Send this process SIGTERM when ``engine`` is there in its ``iteration``, of any ``epoch`` or of that one."""

    def send(engine: Any) -> None:
        if engine.state.iteration == iteration and epoch in (0, engine.state.epoch):
            os.kill(os.getpid(), signal.SIGTERM)

    engine.add_event_handler(event, send)
