"""A step of tuning the general encoder from pixels: float32, bfloat16 as PyTorch has it, ours, and the starter's.

    .venv/bin/python benchmarks/tuning_step.py [--smoke] [--threads N] [--repeats N] [--batch N]

EfficientNet-Lite0 at 224 px, normalised by its batches, random weights; a step is forward, backward and fused AdamW.
Sides take turns, so that a busy machine slows all of them; best of the repeats, processor seconds with one thread (the
default), wall seconds with more. `--smoke` takes two small images.

Last line, one JSON object: seconds a step of `float32`, `bfloat16` (PyTorch's gradients) and `ours` (bfloat16,
gradients of depthwise convolutions in float32 where bfloat16 has no quick kernel), all blocks trained; of `starter`,
what `amp_dtype: auto` takes with as many blocks as `tune_general.json` trains; `speedup` (float32 over ours),
`starter_speedup` (the same precision with all blocks, over the starter's), and `bfloat16_units`: without them
`amp_dtype: auto` is float32, and bfloat16 is not run.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bundle"))
from scripts.encoders.efficientnet import EfficientNetEncoder  # noqa: E402
from scripts.kernels import convolution, depthwise  # noqa: E402
from scripts.kernels.precision import resolved  # noqa: E402
from scripts.training import adamw  # noqa: E402


@contextmanager
def pytorchs_gradients() -> Iterator[None]:
    """Within, depthwise convolutions are PyTorch's own."""

    def plain(x: Tensor, weight: Tensor, stride: int, padding: tuple[int, int]) -> Tensor:
        return torch.nn.functional.conv2d(x, weight, None, stride, padding, groups=len(weight))

    convolution.depthwise = plain
    try:
        yield
    finally:
        convolution.depthwise = depthwise.depthwise


def step_of(side: str, encoder: EfficientNetEncoder, optimizer: torch.optim.Optimizer, image: Tensor) -> None:
    """One step of a side."""
    bfloat16 = side != "float32" and (side != "starter" or resolved("auto", "cpu") == "bfloat16")
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
        loss = encoder(image).float().mean(dim=1).square().mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def learner(blocks: int | str, size: int) -> tuple[EfficientNetEncoder, torch.optim.Optimizer]:
    """An encoder whose last ``blocks`` learn, and its optimizer."""
    options = {"input_size": size, "trainable_blocks": blocks, "batch_statistics": True}
    encoder = EfficientNetEncoder(weights=None, **options).train()
    return encoder, adamw(encoder, learning_rate=1e-3)


def starter_blocks() -> int | str:
    """How many blocks `make starter` trains."""
    config = Path(__file__).resolve().parents[1] / "bundle" / "configs" / "tune_general.json"
    return json.loads(config.read_text(encoding="utf-8"))["general_trainable_blocks"]


def seconds(run: Callable[[], None], clock: Callable[[], float]) -> float:
    start = clock()
    run()
    return clock() - start


def parse(given: Sequence[str] | None) -> argparse.Namespace:
    shape = argparse.ArgumentParser(prog="tuning_step.py", description=__doc__.splitlines()[0])
    shape.add_argument("--smoke", action="store_true", help="two small images: shows that it runs")
    shape.add_argument("--threads", type=int, default=1)
    shape.add_argument("--repeats", type=int, default=4)
    shape.add_argument("--batch", type=int, default=32, help="images a step")
    return shape.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    options = parse(given)
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.threads == 1 else time.perf_counter
    images, size, repeats = (2, 64, 1) if options.smoke else (options.batch, 224, options.repeats)
    units = resolved("auto", "cpu") == "bfloat16"
    image = torch.rand(images, 3, size, size)
    whole, part = learner("all", size), learner(starter_blocks(), size)
    sides = ["float32", *(["bfloat16", "ours"] if units else []), "starter"]
    best = dict.fromkeys(sides, float("inf"))
    for _ in range(repeats + 1):  # the first warms up
        for side in sides:
            encoder, optimizer = part if side == "starter" else whole
            if side == "bfloat16":
                with pytorchs_gradients():
                    taken = seconds(partial(step_of, side, encoder, optimizer, image), clock)
            else:
                taken = seconds(partial(step_of, side, encoder, optimizer, image), clock)
            best[side] = min(best[side], taken)
    for side, taken in best.items():
        print(f"{side:>9}: {taken:.2f} s a step of {images} images")
    found = {side: round(taken, 3) for side, taken in best.items()}
    speedup = round(best["float32"] / best["ours"], 2) if units else None
    same = best["ours" if units else "float32"]
    gain = {"speedup": speedup, "starter_speedup": round(same / best["starter"], 2)}
    print(json.dumps({**found, **gain, "bfloat16_units": units}))


if __name__ == "__main__":
    main()
