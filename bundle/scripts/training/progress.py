"""A progress line per epoch that fits 80 columns: how far, time left, losses."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from typing import Any

from ignite.engine import Events
from monai.utils import CommonKeys
from tqdm import tqdm

from scripts.distributed import rank
from scripts.training.batches import loss_parts

_LONGEST = 42  # characters of losses: "train 12/12 100% 273/273 00:34<00:41, " stands before them


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
            mininterval=self.interval,
            bar_format="{desc} {percentage:3.0f}% {n_fmt}/{total_fmt} {elapsed}<{remaining}{postfix}",
            ncols=shutil.get_terminal_size(fallback=(80, 24)).columns - 1,
            leave=True,
        )

    def _advance(self, engine: Any) -> None:
        if self._bar is None:
            return
        ends = self._bar.total is not None and self._bar.n + 1 >= self._bar.total
        if engine.state.iteration % self.every == 0 or ends:
            output = engine.state.output
            parts = loss_parts(output.get(CommonKeys.PRED)) if isinstance(output, dict) else {}
            self._bar.set_postfix_str(
                losses_in_words({name: value.item() for name, value in parts.items()}), refresh=False
            )
        self._bar.update(1)

    def _close(self, _: Any) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar = None


def losses_in_words(parts: Mapping[str, float]) -> str:
    """``24.2 itc .32 .39 itm .66 .74 itg 10.9 11.1``: the loss, then parts of it that fit the line, branch by branch.

    Args:
        parts: ``loss`` and its parts, named like ``general_itc``.
    """
    kinds: dict[str, list[str]] = {}
    for name, value in parts.items():
        if name != "loss":
            kinds.setdefault(name.rpartition("_")[2], []).append(_short(value))
    words = [_short(parts["loss"])] if "loss" in parts else []
    for kind, values in kinds.items():
        shown = [*words, kind, *values]
        if len(" ".join(shown)) > _LONGEST:
            break
        words = shown
    return " ".join(words)


def _short(value: float) -> str:
    """Three digits, no zero in front: ``.32``, ``4.21``, ``10.9``, ``123``."""
    text = f"{value:.2f}" if abs(value) < 9.995 else f"{value:.1f}" if abs(value) < 99.95 else f"{value:.0f}"
    return text.replace("0.", ".", 1) if abs(value) < 0.995 else text
