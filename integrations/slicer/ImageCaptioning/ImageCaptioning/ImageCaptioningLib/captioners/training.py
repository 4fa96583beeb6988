"""A training on a MONAI Label server, as its ``GET /train/`` tells it: what is shown while it runs, why it failed."""

from __future__ import annotations

import re
from typing import Any

from ..words import _

GOES_ON = ("SUBMITTED", "RUNNING", "PENDING")
_EPOCH = re.compile(r"epoch (?P<epoch>\d+)/(?P<epochs>\d+)(?:, batch (?P<batch>\d+)/(?P<batches>\d+))?")
_STEP = re.compile(r"(?P<what>[a-z][a-z ]*) (?P<at>\d+)/(?P<of>\d+)")
_LOG_HEAD = re.compile(r"^\[[^\]]*\] \[[^\]]*\] \[[A-Z]+\] \([^)]*\) - |^(?:[a-z_]+\.)*[A-Za-z]+Error: ")
"""What MONAI Label's log puts before a message, and Python before an error's sentence."""


def how_far(state: dict[str, Any]) -> tuple[str, float | None]:
    """A sentence for the panel, and the share from 0 to 1 where the server tells."""
    for line in reversed(_lines(state)):
        found = _EPOCH.fullmatch(line)
        if found is not None:
            return _during_epoch(*(int(value or 0) for value in found.groups()))
        step = _STEP.fullmatch(line)
        if step is not None and step["what"] != "validate":  # within an epoch, which an earlier line tells
            text = _("preparing the training: {done} of {count}").format(done=step["at"], count=step["of"])
            return text, None
    return _("the server prepares the training"), None


def failure(state: dict[str, Any]) -> str:
    """Why a training ended, as far as its last line says; "?" where it says nothing."""
    last = next(reversed(_lines(state)), "")
    while (shorter := _LOG_HEAD.sub("", last)) != last:
        last = shorter
    return last[:200] or "?"


def _during_epoch(epoch: int, epochs: int, batch: int, batches: int) -> tuple[str, float | None]:
    if not epochs:
        return _("the server prepares the training"), None
    done = epoch - 1 + batch / batches if batches else epoch
    text = _("training: epoch {epoch} of {epochs}").format(epoch=epoch, epochs=epochs)
    if batches:
        text += ", " + _("batch {batch} of {batches}").format(batch=batch, batches=batches)
    return text, min(1.0, done / epochs)


def _lines(state: dict[str, Any]) -> list[str]:
    """What a training printed, oldest first."""
    details = state.get("details") or []
    lines = details.splitlines() if isinstance(details, str) else [str(line) for line in details]
    return [line.strip() for line in lines if line.strip()]
