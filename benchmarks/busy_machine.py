"""A warm caption on a machine whose cores are busy but for one: as many threads as cores, and as many as are free.

    .venv/bin/python benchmarks/busy_machine.py [--smoke] [--repeats N]

The starter's caption of a CT slice that pydicom ships. One process for each way, both loaded before; they take turns,
while a program that only counts runs on each core but one. Then once more on the idle machine. Wall seconds, median of
the repeats. `--smoke` decodes two words, once.

The last line is one JSON object: `busy_fixed` and `busy_following`, seconds a caption with the threads that PyTorch
takes and with those of `scripts.kernels.free_cores`; `busy_speedup`; `idle_fixed`, `idle_following`, `idle_speedup`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

BUNDLE = Path(__file__).resolve().parents[1] / "bundle"
CAPTIONER = """
import sys, time
from pydicom.data import get_testdata_file
from scripts.kernels.allocator import keep_memory
from scripts.kernels.free_cores import follow_free_cores
from scripts.predictor import CaptionPredictor

keep_memory()
if sys.argv[2] == "following":
    follow_free_cores()
predictor = CaptionPredictor.from_bundle(sys.argv[1], anything=True, max_new_tokens=int(sys.argv[3]))
image = get_testdata_file("CT_small.dcm")
predictor.caption(image)
print("ready", flush=True)
for _ in sys.stdin:
    started = time.perf_counter()
    predictor.caption(image)
    print(time.perf_counter() - started, flush=True)
"""
WAYS = ("fixed", "following")


@contextmanager
def busy(cores: int) -> Iterator[None]:
    """Programs that only count, on so many cores."""
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(cores)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


@contextmanager
def captioner(way: str, words: int) -> Iterator[subprocess.Popen[str]]:
    """A process that captions once for each line that it is given."""
    command = [sys.executable, "-c", CAPTIONER, str(BUNDLE), way, str(words)]
    environment = {**os.environ, "PYTHONPATH": str(BUNDLE), "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield process
        process.stdin.close()


def wait_for(process: subprocess.Popen[str]) -> None:
    """Until it has loaded its network."""
    if process.stdout.readline() != "ready\n":
        raise RuntimeError("the captioner did not start: what it said stands above")


def seconds(process: subprocess.Popen[str]) -> float:
    process.stdin.write("\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def medians(processes: dict[str, subprocess.Popen[str]], repeats: int, pause: float) -> dict[str, float]:
    """In turns; the first of each does not count."""
    taken = {way: [] for way in processes}
    for _ in range(repeats + 1):
        for way, process in processes.items():
            time.sleep(pause)  # for the last one's turn not to count among what is busy
            taken[way].append(seconds(process))
    return {way: statistics.median(values[1:]) for way, values in taken.items()}


def main(given: Sequence[str] | None = None) -> int:
    shape = argparse.ArgumentParser(prog="busy_machine.py", description=__doc__.splitlines()[0])
    shape.add_argument("--smoke", action="store_true", help="two words, once")
    shape.add_argument("--repeats", type=int, default=7)
    options = shape.parse_args(given)
    repeats, words, pause = (1, 2, 0.1) if options.smoke else (options.repeats, 48, 2.5)
    cores = len(os.sched_getaffinity(0))
    figures: dict[str, float] = {}
    with ExitStack() as stack:
        processes = {way: stack.enter_context(captioner(way, words)) for way in WAYS}
        for process in processes.values():
            wait_for(process)
        for state, others in (("busy", max(1, cores - 1)), ("idle", 0)):
            with busy(others):
                found = medians(processes, repeats, pause)
            figures |= {f"{state}_{way}": round(found[way], 3) for way in WAYS}
            figures[f"{state}_speedup"] = round(found["fixed"] / found["following"], 2)
            print(f"{state}: {found['fixed']:.2f} s with a thread for each core, {found['following']:.2f} s following")
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
