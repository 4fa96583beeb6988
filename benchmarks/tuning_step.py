"""A step of tuning the general encoder from pixels: float32, bfloat16 as PyTorch has it, and ours, side by side.

    .venv/bin/python benchmarks/tuning_step.py [--smoke] [--threads N] [--repeats N] [--batch N]

EfficientNet-Lite0 at 224 px, all blocks trained, normalised by its batches (`tune_general.json`), random weights; a
step is forward, backward and fused AdamW. Sides take turns, so that a busy machine slows all of them; best of the
repeats, processor seconds with one thread (the default), wall seconds with more. `--smoke` takes two small images.

Last line, one JSON object: seconds a step of `float32`, `bfloat16` (PyTorch's gradients), `ours` (bfloat16, gradients
of depthwise convolutions in float32 where bfloat16 has no quick kernel), `speedup` (float32 over ours), and
`bfloat16_units`: without them bfloat16 is not what `amp_dtype: auto` takes, and no side but float32 is run.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=side != "float32"):
        loss = encoder(image).float().mean(dim=1).square().mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()


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
    encoder = EfficientNetEncoder(weights=None, input_size=size, trainable_blocks="all", batch_statistics=True).train()
    optimizer, image = adamw(encoder, learning_rate=1e-3), torch.rand(images, 3, size, size)
    sides = ["float32", "bfloat16", "ours"] if units else ["float32"]
    best = dict.fromkeys(sides, float("inf"))
    for _ in range(repeats + 1):  # the first warms up
        for side in sides:
            if side == "bfloat16":
                with pytorchs_gradients():
                    taken = seconds(lambda: step_of("bfloat16", encoder, optimizer, image), clock)
            else:
                taken = seconds(lambda side=side: step_of(side, encoder, optimizer, image), clock)
            best[side] = min(best[side], taken)
    for side, taken in best.items():
        print(f"{side:>9}: {taken:.2f} s a step of {images} images")
    found = {side: round(taken, 3) for side, taken in best.items()}
    speedup = round(best["float32"] / best["ours"], 2) if units else None
    print(json.dumps({**found, "speedup": speedup, "bfloat16_units": units}))


if __name__ == "__main__":
    main()
