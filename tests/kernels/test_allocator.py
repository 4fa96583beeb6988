"""Freed buffers are kept, unless whoever starts the process has chosen otherwise."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

BUNDLE = Path(__file__).resolve().parents[2] / "bundle"
PAGES = """
import resource, sys
from scripts.kernels.allocator import keep_memory
if sys.argv[1] == "keep":
    print(keep_memory(), end=" ")
import torch
torch.ones(1 << 26)  # 256 MiB
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for power in (25, 24, 23, 22):  # smaller and smaller: an aligned buffer needs some room besides
    torch.ones(1 << power)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
HOLES = """
from scripts.kernels.allocator import give_back_memory, keep_memory
keep_memory()
import torch
def resident():
    return next(int(line.split()[1]) >> 10 for line in open("/proc/self/status") if line.startswith("VmRSS"))
buffers = [torch.ones(1 << 20) for _ in range(64)]  # 4 MiB each
buffers = buffers[::2]
full = resident()
print(give_back_memory(), full - resident(), float(sum(one.sum() for one in buffers)))
"""
glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep memory")


def pages_filled(how: str, **environment: str) -> list[str]:
    """What the child prints: maybe what `keep_memory` said, then how many pages the system gave to four buffers."""
    return printed(PAGES, how, **environment)


def printed(program: str, *arguments: str, **environment: str) -> list[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**clean, **environment, "PYTHONPATH": str(BUNDLE), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@glibc
def test_a_buffer_is_the_next_ones_memory() -> None:
    said, kept = pages_filled("keep")
    (given_back,) = pages_filled("leave")
    assert said == "True"
    assert int(kept) * 20 < int(given_back)


@glibc
def test_what_the_environment_chose_stands() -> None:
    said, _ = pages_filled("keep", MALLOC_TRIM_THRESHOLD_="131072")
    assert said == "False"


@glibc
def test_holes_between_buffers_go_back() -> None:
    """32 of 64 buffers of 4 MiB were freed; the others are as they were."""
    said, freed, total = printed(HOLES)
    assert said == "True" and 100 <= int(freed) <= 160 and float(total) == 32 * 2**20
