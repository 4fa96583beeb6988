"""A line that says that a program is loading, until the program itself has something to say."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any, TextIO

__all__ = ["WaitingLine"]


class WaitingLine:
    """Shown on standard error at once; gone with the first thing that is written to standard output or error.

    On a terminal it counts seconds in place and is wiped out in the end. In a log file it is one line.

    Args:
        text: what takes its time.
        interval: seconds between two looks of a terminal.
    """

    def __init__(self, text: str, *, interval: float = 0.5) -> None:
        self.text, self.interval = text, interval
        self._stream: TextIO = sys.stderr
        self._over = threading.Event()
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Show the line, and listen to both streams."""
        if not self._stream.isatty():
            self._stream.write(f"{self.text} ...\n")
            self._stream.flush()
            return
        sys.stdout, sys.stderr = _Heard(sys.stdout, self.end), _Heard(sys.stderr, self.end)
        threading.Thread(target=self._count, daemon=True).start()

    def end(self) -> None:
        """Wipe the line out, once."""
        with self._lock:
            if not self._over.is_set():
                self._over.set()
                self._stream.write("\r\x1b[K")
                self._stream.flush()

    def _count(self) -> None:
        since = time.monotonic()
        while True:
            with self._lock:
                if self._over.is_set():
                    return
                self._stream.write(f"\r{self.text} ... {time.monotonic() - since:.0f} s ")
                self._stream.flush()
            self._over.wait(self.interval)


class _Heard:
    """A stream that tells somebody before it is written to."""

    def __init__(self, stream: TextIO, told: Any) -> None:
        self._stream, self._told = stream, told

    def write(self, text: str) -> int:
        self._told()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
