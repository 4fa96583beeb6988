"""The training's own process: how far it is goes to MONAI Label's log, which clients read while it runs."""

from __future__ import annotations

import re
import subprocess
from collections import deque
from collections.abc import Sequence

_BAR = re.compile(
    r"(?P<what>[a-z][a-z ]*?)(?: (?P<epoch>\d+)/(?P<epochs>\d+))?:\s+\d+%\|.*?\|\s*(?P<at>\d+)/(?P<of>\d+)"
)
KEPT = 60
"""Last lines that are shown where the training fails."""


def progress_of(line: str) -> str | None:
    """A bar of the training as a plain line, such as ``epoch 2/5, batch 12/30``; None for another line."""
    found = _BAR.match(line.strip())
    if found is None:
        return None
    if found["what"] == "train":
        return f"epoch {found['epoch'] or 1}/{found['epochs'] or 1}, batch {found['at']}/{found['of']}"
    return f"{found['what']} {found['at']}/{found['of']}"


def follow(command: Sequence[str]) -> tuple[int, list[str]]:
    """Run a training and pass its progress on, line by line, as soon as it is known.

    Returns:
        exit code, and the last lines that were no progress.
    """
    said: deque[str] = deque(maxlen=KEPT)
    before = None
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():  # text mode ends a line at a bar's carriage return, too
            progress = progress_of(line)
            if progress is None:
                if line.strip():
                    said.append(line.rstrip())
            elif progress != before:
                before = progress
                print(progress, flush=True)
    return process.returncode, list(said)
