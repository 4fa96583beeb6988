"""Work in a thread, for a panel that looks in from time to time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from .errors import CaptioningError
from .words import _

logger = logging.getLogger(__name__)


class Progress:
    """How far a job is: the job's thread writes, the panel reads.

    Attributes:
        fraction: 0 to 1, or None where nobody can tell.
        text: what is being done.
    """

    def __init__(self) -> None:
        self.fraction: float | None = None
        self.text = ""
        self._lines: list[str] = []
        self._stop = threading.Event()
        self._lock = threading.Lock()

    def tell(self, text: str, fraction: float | None = None) -> None:
        """Say what is being done; ends the job here where it was cancelled."""
        self.check()
        self.text, self.fraction = text, fraction
        self.log(text)

    def log(self, line: str) -> None:
        """Add a line of detail."""
        with self._lock:
            self._lines.append(line)

    def take_lines(self) -> list[str]:
        """The lines since the last call."""
        with self._lock:
            lines, self._lines = self._lines, []
        return lines

    def cancel(self) -> None:
        self._stop.set()

    @property
    def cancelled(self) -> bool:
        return self._stop.is_set()

    def check(self) -> None:
        """Raise `CancelledError` where the job was cancelled."""
        if self.cancelled:
            raise CancelledError(_("cancelled"))

    def wait(self, seconds: float) -> None:
        """Sleep, unless and until the job is cancelled."""
        self._stop.wait(seconds)
        self.check()


class CancelledError(CaptioningError):
    """The user cancelled: nothing to report."""


class Job:
    """A function in a thread.

    Args:
        work: called with the job's `Progress`; must not touch the scene or a widget.
        stop: called once at :meth:`cancel`, to end what ``work`` waits for.
    """

    def __init__(self, work: Callable[[Progress], Any], stop: Callable[[], None] | None = None) -> None:
        self.result: Any = None
        self.error: Exception | None = None
        self.progress = Progress()
        self.began = time.monotonic()
        self._stop = stop
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[Progress], Any]) -> None:
        try:
            self.result = work(self.progress)
        except Exception as error:  # handed to the panel, which shows it
            self.error = error

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def cancel(self) -> None:
        """Ask the work to end; its result will not be used."""
        if not self.progress.cancelled:
            self.progress.cancel()
            if self._stop is not None:
                self._stop()

    def join(self, seconds: float | None = None) -> None:
        self._thread.join(seconds)


def sentence_of(error: Exception) -> str:
    """One sentence for the panel; the log gets the details of what nobody expected."""
    if isinstance(error, CaptioningError):
        return str(error)
    logger.error("unexpected failure", exc_info=error)
    return _("something unexpected failed ({kind}); the log has the details").format(kind=type(error).__name__)
