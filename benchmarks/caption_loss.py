"""The caption loss of whole logits, and of a few rows of them at a time: seconds and memory, side by side.

    .venv/bin/python benchmarks/caption_loss.py [--smoke] [--threads N] [--repeats N]

500 words of a batch of the starter, 576 wide, 49,152 words in the vocabulary; forward and backward to the hidden
states, the output layer frozen. Sides take turns, best of the repeats: processor seconds with one thread (the default),
wall seconds with more. Memory is the most that a process of its own (Linux) holds beyond what it had before. `--smoke`
takes a small vocabulary.

The last line is one JSON object: `float32_speedup`, `float32_memory` (ours over whole logits'), and the same of
`bfloat16` where the processor has units for it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent / "bundle")]

from own_process import apart  # noqa: E402

from scripts.kernels.frozen_head import frozen_head_loss  # noqa: E402
from scripts.kernels.precision import resolved  # noqa: E402

WORDS, WIDTH, VOCABULARY = 500, 576, 49_152


def whole(hidden: Tensor, weight: Tensor, ids: Tensor) -> Tensor:
    return F.cross_entropy(F.linear(hidden, weight).float(), ids, reduction="sum")


def ours(hidden: Tensor, weight: Tensor, ids: Tensor) -> Tensor:
    return frozen_head_loss(hidden, weight, None, ids)


SIDES = {"whole": whole, "ours": ours}


def parts(dtype: str, vocabulary: int) -> tuple[Tensor, Tensor, Tensor]:
    kind = getattr(torch, dtype)
    weight = torch.randn(vocabulary, WIDTH) * 0.14  # as large as the starter's: far larger logits end in denormals
    hidden, weight = torch.randn(WORDS, WIDTH).to(kind), weight.to(kind)
    return hidden.requires_grad_(), weight, torch.randint(vocabulary, (WORDS,))


def step(side: str, given: tuple[Tensor, Tensor, Tensor]) -> None:
    SIDES[side](*given).backward()


def megabytes(side: str, dtype: str, vocabulary: int) -> float:
    """What a step needs at its height, in a process that did nothing else."""
    step(side, parts(dtype, 100))  # what a first step needs besides is not the loss's
    given = parts(dtype, vocabulary)
    Path("/proc/self/clear_refs").write_text("5")  # the height is that of now
    before = _height()
    step(side, given)
    return (_height() - before) / 1024


def _height() -> int:
    """The most memory that this process has held, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def seconds(run: Callable[[], None], clock: Callable[[], float]) -> float:
    start = clock()
    run()
    return clock() - start


def compare(dtype: str, vocabulary: int, repeats: int, clock: Callable[[], float]) -> dict[str, float]:
    given, best = parts(dtype, vocabulary), dict.fromkeys(SIDES, float("inf"))
    for _ in range(repeats + 1):  # the first warms up
        for side in SIDES:
            best[side] = min(best[side], seconds(partial(step, side, given), clock))
    held = {side: apart(megabytes, side, dtype, vocabulary) for side in SIDES}
    for side in SIDES:
        print(f"{dtype:>9}, {side:>5}: {best[side] * 1e3:.0f} ms, {held[side]:.0f} MB")
    return {
        f"{dtype}_speedup": round(best["whole"] / best["ours"], 2),
        f"{dtype}_memory": round(held["ours"] / held["whole"], 3),
    }


def main(given: Sequence[str] | None = None) -> int:
    shape = argparse.ArgumentParser(prog="caption_loss.py", description=__doc__.splitlines()[0])
    shape.add_argument("--smoke", action="store_true", help="a small vocabulary, once")
    shape.add_argument("--threads", type=int, default=1)
    shape.add_argument("--repeats", type=int, default=5)
    options = shape.parse_args(given)
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.threads == 1 else time.perf_counter
    vocabulary, repeats = (2_000, 1) if options.smoke else (VOCABULARY, options.repeats)
    kinds = ["float32", *(["bfloat16"] if resolved("auto", "cpu") == "bfloat16" else [])]
    found = {key: value for kind in kinds for key, value in compare(kind, vocabulary, repeats, clock).items()}
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
