"""Memory and time that hostile input may take: the peak of this process from here on, and its seconds of work."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

GIB = 2**30


@contextlib.contextmanager
def within(*, bytes: int = 2 * GIB, seconds: float = 10.0) -> Iterator[None]:
    """Fails where what runs inside takes more memory than that, or more seconds of one or several cores."""
    with contextlib.suppress(OSError):  # a kernel that cannot: the peak is then that of the whole process, or higher
        Path("/proc/self/clear_refs").write_text("5")
    before, worked = _memory("VmRSS"), time.process_time()
    yield
    took, grown = time.process_time() - worked, _memory("VmHWM") - before
    assert took < seconds, f"{took:.1f} s of work"
    assert grown < bytes, f"{grown / GIB:.2f} GiB"


def _memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
