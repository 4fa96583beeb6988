"""Forked processes for tests that kill."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm


def own_locks() -> None:
    """Call first in a forked process: tqdm's lock is a semaphore that parent and child share.

    A child that is killed while it holds it would stop every later progress bar; one held at the fork, the child.
    """
    tqdm.set_lock(threading.RLock())


class Child:
    """A function in a forked process: no import time, a true process to kill. Its output goes to ``folder``."""

    def __init__(self, folder: Path, function: Callable[..., None], *arguments: Any) -> None:
        folder.mkdir(exist_ok=True, parents=True)
        self.log = folder / f"output_{time.monotonic_ns()}.txt"
        self.pid = os.fork()
        if self.pid == 0:
            self._run(function, arguments)

    def _run(self, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        code = 1
        try:
            stream = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(stream, 1)
            os.dup2(stream, 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            logging.basicConfig(level=logging.INFO, stream=sys.stderr, force=True)
            own_locks()
            function(*arguments)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    def running(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def end(self, number: int | None = None) -> int:
        """Send a signal, if given, and wait; returns the exit code, negative for a signal."""
        if number is not None:
            os.kill(self.pid, number)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
