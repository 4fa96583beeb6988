"""Threads follow the cores that others leave free, in programs that ask for it; by made clocks and a real busy core."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from scripts.kernels import free_cores
from scripts.kernels.free_cores import FreeCores, settle_threads

BUNDLE = Path(free_cores.__file__).parents[2]


class Machine:
    """Readings that a test sets."""

    def __init__(self) -> None:
        self.clock = self.busy = self.own = 0.0

    def goes_on(self, seconds: float, *, others: float, own: float) -> None:
        self.clock += seconds
        self.busy += seconds * (others + own)
        self.own += seconds * own

    def watch(self, cores: int) -> FreeCores:
        return FreeCores(clock=lambda: self.clock, busy=lambda: self.busy, own=lambda: self.own, cores=cores)


@pytest.mark.parametrize(
    ("cores", "others", "own", "free"),
    [
        (2, 0.0, 2.0, 2),  # all of it is this process's own
        (2, 0.1, 1.9, 2),  # a clock, a mail program
        (2, 1.0, 1.0, 1),
        (2, 2.0, 0.3, 1),  # none is free: one thread all the same
        (16, 4.4, 8.0, 12),
    ],
)
def test_free_is_what_others_leave(cores: int, others: float, own: float, free: int) -> None:
    machine = Machine()
    watch = machine.watch(cores)
    machine.goes_on(3.0, others=others, own=own)
    assert watch.count() == free


def test_what_is_long_ago_does_not_count() -> None:
    machine = Machine()
    watch = machine.watch(4)
    for _ in range(600):
        machine.goes_on(1.0, others=3.0, own=1.0)
        watch.read()
    assert watch.count() == 1
    for _ in range(2):
        machine.goes_on(1.0, others=0.0, own=0.0)
        watch.read()
    assert watch.count() == 4


def test_a_first_count_before_any_time_has_passed_is_of_all_cores() -> None:
    assert Machine().watch(4).count() == 4


def test_threads_go_down_and_up_again_but_never_above_what_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    before, machine, taken = torch.get_num_threads(), Machine(), []
    watch = machine.watch(8)
    monkeypatch.setattr(free_cores._Threads, "watch", watch)
    monkeypatch.setattr(free_cores._Threads, "most", 3)
    try:
        for others in (7.0, 6.0, 0.0):
            watch.read()
            watch.read()
            machine.goes_on(1.0, others=others, own=1.0)
            settle_threads()
            taken.append(torch.get_num_threads())
    finally:
        torch.set_num_threads(before)
    assert taken == [1, 2, 3]


def test_a_library_s_threads_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "set_num_threads", lambda count: pytest.fail("nobody asked for it"))
    settle_threads()


@pytest.mark.parametrize("threads", [1, 2])
def test_only_a_program_of_several_threads_follows(threads: int) -> None:
    code = (
        "import threading, torch; from scripts.kernels.free_cores import *\n"
        "before = torch.get_num_threads(); follow_free_cores(); settle_threads()\n"
        "print(before, sum(thread.name == 'free cores' for thread in threading.enumerate()))"
    )
    environment = {"PYTHONPATH": str(BUNDLE), "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(threads), str(threads - 1)]


def test_a_busy_program_is_seen_in_the_system_s_own_figures() -> None:
    """One core is all that this process and the other have: as good as none is free for this one."""
    code = (
        "import os, subprocess, sys, time\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from scripts.kernels.free_cores import _busy\n"
        "other = subprocess.Popen([sys.executable, '-c', 'while True: pass'])\n"
        "time.sleep(0.2); before, own = _busy(), time.process_time(); time.sleep(1.0)\n"
        "print(_busy() - before - (time.process_time() - own)); other.kill()\n"
    )
    if not hasattr(time, "CLOCK_PROCESS_CPUTIME_ID") or not sys.platform.startswith("linux"):
        pytest.skip("needs Linux's affinity")
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(BUNDLE)}, capture_output=True, text=True, check=True
    )
    assert 0.5 < float(done.stdout) < 1.6
