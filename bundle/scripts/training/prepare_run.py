"""Preparation of a run, before anything of it is built: seeds, precision, memory, quiet readers, the run folder."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from monai.utils import set_determinism

from scripts.distributed import rank
from scripts.errors import show_sentences
from scripts.kernels.allocator import keep_memory
from scripts.kernels.precision import set_float32_precision
from scripts.training.run_record import log_to, run_lock


def prepare_run(*, seed: int | None = 0, float32_precision: str = "exact") -> None:
    """Seed Python, NumPy and PyTorch, choose the float32 arithmetic, keep memory, let errors end in a sentence.

    Configs call it in ``initialize``.

    Args:
        seed: None leaves the generators alone.
        float32_precision: ``exact`` or ``fast``, see :func:`set_float32_precision`.
    """
    show_sentences()
    if seed is not None:
        set_determinism(seed=seed, use_deterministic_algorithms=False)
    set_float32_precision(float32_precision)
    keep_memory()
    logging.getLogger("monai.data.image_reader").setLevel(logging.ERROR)  # its note on a codec that we do not use


def open_run(output_dir: str | os.PathLike[str]) -> None:
    """Lock a run folder and begin its ``log.txt``, so that it tells what is loaded and cached, too.

    Configs call it first in ``run``. Of several processes the first has the lock.

    Raises:
        InputError: another run writes to ``output_dir``.
    """
    if rank() == 0:
        run_lock(output_dir).acquire()
        log_to(Path(output_dir) / "log.txt")
