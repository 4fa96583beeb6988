"""Buffers that stay with the process, instead of going back to the system after each step.

glibc gives buffers of more than 32 MiB back as soon as they are freed, and the system fills each new one with zeros,
page by page. The buffers of one step are those of the next, so that work is lost: half of the time of SAM's encoder as
published, a quarter of LiteMedSAM's, up to a third of a training step on a CPU.
"""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # M_* of malloc.h
_LARGEST = 2**31 - 1  # what mallopt takes


def keep_memory(arenas: int = 0) -> bool:
    """Let glibc keep freed buffers of up to 2 GiB for the next ones; returns whether it does.

    It holds for the whole process, which then stays as large as it was at its peak: for programs to call, not for
    libraries. Other C libraries are left as they are, and so is a glibc that ``MALLOC_MMAP_THRESHOLD_``,
    ``MALLOC_TRIM_THRESHOLD_`` or ``GLIBC_TUNABLES`` sets from outside. Source: ``man 3 mallopt``.

    Args:
        arenas: so many parts of memory are shared by all threads; by default glibc gives each its own, whose freed
            buffers no other thread gets. To be called before there are threads.
    """
    chosen = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")
    if not sys.platform.startswith("linux") or any(os.environ.get(name) for name in chosen):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    if arenas:
        mallopt(_ARENA_MAX, arenas)
    return all(mallopt(which, _LARGEST) == 1 for which in (_MMAP_THRESHOLD, _TRIM_THRESHOLD))


def give_back_memory() -> bool:
    """Give freed pages back to the system, also those between buffers in use; returns whether there were any.

    For programs that run for days: where some buffers stay, as the images of captions that are kept, what is freed
    around them is seldom of the size that the next one needs, and each thread has its own such holes. It costs the
    next step a fresh page for each that went. Source: ``man 3 malloc_trim``.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None
    return trim is not None and trim(0) == 1
