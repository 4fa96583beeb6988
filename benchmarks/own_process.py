"""Parts of a benchmark in processes of their own: what one leaves in memory neither helps nor hinders the next."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bundle"))
from scripts.kernels.allocator import keep_memory  # noqa: E402


def apart(
    job: Callable[..., Any], *arguments: Any, threads: int = 1, kept_memory: bool = False, forked: bool = False
) -> Any:
    """Result of ``job`` from a process of its own.

    Args:
        job: a function of a module, so that it can be named to the other process.
        threads: of PyTorch.
        kept_memory: freed buffers stay for the next use, as the service and the bundle's runs have them.
        forked: a copy of this process in place of a fresh one. It imports nothing again, and holds what this process
            holds: for smoke runs.

    Raises:
        Exception: what ``job`` raises.
        concurrent.futures.process.BrokenProcessPool: the process was killed.
    """
    context = multiprocessing.get_context("fork" if forked else "spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=_begin, initargs=(threads, kept_memory)) as pool:
        return pool.submit(job, *arguments).result()


def _begin(threads: int, kept_memory: bool) -> None:
    torch.set_num_threads(threads)
    if kept_memory:
        keep_memory()
