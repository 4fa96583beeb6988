"""As many threads as there are free cores.

PyTorch's threads meet at the end of each operation and wait for one another. Where one of them has to share its core
with another program, all wait for that core: on two cores of which one is busy, two threads take twice as long as one
(``benchmarks/busy_machine.py``).
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from threading import Thread

import psutil
import torch

_INTERVAL = 1.0  # seconds between readings: the system counts in hundredths


class FreeCores:
    """Tells how much of the cores that this process may use went to others in the last second or two.

    Args:
        clock: seconds.
        busy: seconds that these cores have worked, for whomever, or were taken away by the machine below.
        own: seconds that they have worked for this process.
        cores: how many they are.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        busy: Callable[[], float] | None = None,
        own: Callable[[], float] = time.process_time,
        cores: int = 0,
    ) -> None:
        self._read = lambda: (clock(), (busy or _busy)(), own())
        self._cores = cores or len(_usable())
        self._readings = deque([self._read()], maxlen=2)

    def watch(self) -> None:
        """Read from time to time, until the program ends; for a thread of its own."""
        while True:
            time.sleep(_INTERVAL)
            self.read()

    def read(self) -> None:
        """Keep how things are now, and forget all readings but this and the last one."""
        self._readings.append(self._read())

    def count(self) -> int:
        """Cores that others leave free, at least one, to the nearest whole number."""
        now = self._read()
        passed, busy, own = (after - before for after, before in zip(now, self._readings[0], strict=True))
        taken = max(0.0, busy - own) / passed if passed > 0 else 0.0
        return max(1, int(self._cores - taken + 0.5))


class _Threads:
    """How many threads this process has at most, and what it watches; None: their number stays as it is."""

    watch: FreeCores | None = None
    most = 1


def follow_free_cores() -> None:
    """From now on each captioning has as many threads as there are free cores, and no more than there are now.

    It holds for the whole process: for programs to call, not for libraries. ``OMP_NUM_THREADS`` stays the most.
    """
    if torch.get_num_threads() > 1:
        _Threads.watch, _Threads.most = FreeCores(), torch.get_num_threads()
        Thread(target=_Threads.watch.watch, name="free cores", daemon=True).start()


def settle_threads() -> None:
    """Take as many threads as there are free cores, in a process that follows them: called before they are used."""
    if _Threads.watch is not None:
        wanted = min(_Threads.most, _Threads.watch.count())
        if wanted != torch.get_num_threads():
            torch.set_num_threads(wanted)


def _usable() -> list[int]:
    """Numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _busy() -> float:
    cores = psutil.cpu_times(percpu=True)
    used = [cores[number] for number in _usable() if number < len(cores)]
    # a guest's time is counted under user already
    counted = ("user", "nice", "system", "irq", "softirq", "steal")
    return sum(getattr(core, name, 0.0) for core in used for name in counted)
