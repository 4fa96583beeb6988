"""Quiet reading: what libraries warn of quotes header values, which may name people.

Warning filters, a logger's switch and pydicom's validation belong to the whole process, and a resident service reads in
several threads. So the first reader in sets them and the last one out puts them back: nobody is heard in between, and
nothing stays changed.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager


class Shared:
    """A context that many may be in at once: the first one in enters it, the last one out leaves it.

    Args:
        make: gives the context; may be left from another thread than it was entered from.
    """

    def __init__(self, make: Callable[[], AbstractContextManager]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._inside = 0
        self._entered = ExitStack()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._inside == 0:
                self._entered.enter_context(self._make())
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self._entered.close()


@contextmanager
def _no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


quiet_warnings = Shared(_no_warnings)
"""``with quiet_warnings():`` no warning of any library is shown."""
