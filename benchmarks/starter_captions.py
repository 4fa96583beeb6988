"""Captions of the starter in a process that holds nothing else, for `caption.py` to time.

    .venv/bin/python benchmarks/starter_captions.py [--images N] [--folder N] [--datalist FILE] [--fast]
    .venv/bin/python benchmarks/starter_captions.py --together [--images N] [--datalist FILE]

Neither MONAI nor transformers is imported unless the captioner itself does so. The last line is one JSON object:
`seconds` (median wall seconds of a warm caption), `steps` (medians of its parts), `texts`, and `folder` (many images in
batches), beside the captioner as it was, see `Sides`; and `floor`, what the machine's speed allows. `--fast` takes
`auto` encoders and an int8 language model, `--together` captions all images as one batch and only ends.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "bundle"))

from scripts.generation import packed_llama  # noqa: E402
from scripts.kernels import laid_out, packed_linear  # noqa: E402
from scripts.kernels.allocator import keep_memory  # noqa: E402
from scripts.kernels.precision import resolved  # noqa: E402
from scripts.predictor import Caption, CaptionPredictor  # noqa: E402

PART = 32  # images of a folder that are captioned one way before the other way has its turn
FAST = {"amp_dtype": "auto", "language_model_dtype": "int8"}


def images(datalist: Path | None, count: int) -> list[str]:
    """Paths of images: of a datalist's validation part, or the samples of pydicom."""
    if datalist is not None:
        items = json.loads(datalist.read_text(encoding="utf-8"))["validation"]
        return [str(datalist.parent / item["image"]) for item in items[:: max(1, len(items) // count)][:count]]
    from scripts.commands.samples import write_samples

    paths = write_samples(ROOT / "runs" / "samples")
    return [str(paths[number % len(paths)]) for number in range(count)]


class Sides:
    """The captioner now and as it was, each with a language model packed its way.

    Before: encoders in float32 with weights that PyTorch lays out at each call, the language model's in float32, its
    attention PyTorch's fused one, and batches of four.
    """

    NAMES = ("now", "before")

    def __init__(self, predictor: CaptionPredictor, batch_size: int) -> None:
        self.predictor = predictor
        self.batch_size = {"now": batch_size, "before": 4}
        self._packed = dict.fromkeys(self.NAMES)

    def timed(self, name: str, work: Callable[[CaptionPredictor], Any]) -> tuple[Any, float, float]:
        """What ``work`` returns, its wall seconds and its processor seconds."""
        generator = self.predictor.network.generator
        generator._packed = self._packed[name]
        wall, processor = time.perf_counter(), time.process_time()
        with self._before() if name == "before" else nullcontext():
            made = work(self.predictor)
        taken = time.perf_counter() - wall, time.process_time() - processor
        self._packed[name] = generator._packed
        return made, *taken

    @contextmanager
    def _before(self) -> Iterator[None]:
        with ExitStack() as patches:
            for owner, name, value in (
                (laid_out, "_AVAILABLE", False),
                (packed_linear, "half_product", lambda weight, bias: None),
                (packed_llama, "_grouped", partial(scaled_dot_product_attention, scale=1.0, enable_gqa=True)),
                (self.predictor, "dtype", "float32"),
            ):
                patches.enter_context(patch.object(owner, name, value))
            yield


def warm_captions(sides: Sides, paths: list[str]) -> dict[str, Any]:
    """Each image alone, after a first caption that is not counted, now and as before in turns."""
    walls: dict[str, list[float]] = {name: [] for name in sides.NAMES}
    processors: dict[str, list[float]] = {name: [] for name in sides.NAMES}
    captions: dict[str, list[Caption]] = {name: [] for name in sides.NAMES}
    for number, path in enumerate([paths[0], *paths]):
        for name in sides.NAMES:
            caption, wall, processor = sides.timed(name, lambda predictor, path=path: predictor.caption(path))
            if number:
                walls[name].append(wall)
                processors[name].append(processor)
                captions[name].append(caption)
    same = [now.text == before.text for now, before in zip(captions["now"], captions["before"], strict=True)]
    taken: dict[str, list[float]] = {}
    for caption in captions["now"]:
        for step, seconds in caption.seconds.items():  # an image that is withheld has fewer
            taken.setdefault(step, []).append(seconds)
    return {
        "seconds": statistics.median(walls["now"]),
        "before": statistics.median(walls["before"]),
        "speedup": ratio(walls),
        "cpu_seconds": statistics.median(processors["now"]),
        "cpu_speedup": ratio(processors),
        "equal": statistics.mean(same),
        "steps": {step: statistics.median(seconds) for step, seconds in taken.items()},
        "texts": [caption.text for caption in captions["now"]],
    }


def floor(sides: Sides, path: str) -> dict[str, float]:
    """Seconds that one caption's arithmetic and reading take at the machine's measured speed, and what they are of.

    Encoders, Q-Formers and prefix: their operations at the speed of a large product of their type. Each step of
    decoding: the language model's weights in float16 at the speed of reading, or the products of all beams in float32,
    whichever takes longer.
    """
    from torch.utils.flop_counter import FlopCounterMode

    network, steps = sides.predictor.network, []
    loaded = sides.predictor.load(path)
    sides.predictor.caption_loaded([path], [loaded], written=steps.append)
    seen, spoken = FlopCounterMode(display=False), FlopCounterMode(display=False)
    with sides._before(), torch.no_grad():  # PyTorch's own operations are those that it counts
        with seen:
            prefix = network.prefix(network.encode(loaded[0][None]))[0]
        with spoken:
            network.language_model.model(inputs_embeds=prefix, logits_to_keep=1)
    weights = sum(part.weight.numel() for part in network.language_model.modules() if type(part) is nn.Linear)
    dtype = resolved(sides.predictor.dtype, "cpu")
    products = {name: product_speed(getattr(torch, name)) for name in ("float32", dtype)}
    block = torch.zeros(1 << 25, dtype=torch.int64)
    reading = block.nbytes / best(block.sum)
    a_step = max(2 * weights / reading, 2 * weights * network.options.num_beams / products["float32"])
    parts = {
        "encoders": seen.get_total_flops() / products[dtype],
        "prefill": spoken.get_total_flops() / products["float32"],
        "words": (len(steps) - 1) * a_step,
    }
    speeds = {f"{name}_gflops": speed / 1e9 for name, speed in products.items()} | {"read_gb": reading / 1e9}
    amounts = {"encoder_gflop": seen.get_total_flops() / 1e9, "steps": len(steps) - 1, "model_mb": 2 * weights / 1e6}
    return {"seconds": sum(parts.values()), **parts, **speeds, **amounts}


def product_speed(dtype: torch.dtype, side: int = 2048) -> float:
    """Operations a second of a large product."""
    left = torch.randn(side, side).to(dtype)
    right = torch.ops.mkldnn._reorder_linear_weight(left, side)
    return 2 * side**3 / best(lambda: torch.ops.mkldnn._linear_pointwise(left, right, None, "none", [], ""))


def best(run: Callable[[], Any]) -> float:
    """The least seconds of four: of the processor with one thread, by the clock with more."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    taken = []
    for _ in range(4):
        start = clock()
        run()
        taken.append(clock() - start)
    return min(taken)


def folder(sides: Sides, paths: list[str]) -> dict[str, float]:
    """Many images in batches, a part of the folder at a time now and as before in turns."""
    walls: dict[str, list[float]] = {name: [] for name in sides.NAMES}
    processors: dict[str, list[float]] = {name: [] for name in sides.NAMES}
    for first in range(0, len(paths), PART):
        part = paths[first : first + PART]
        for name in sides.NAMES:
            size = sides.batch_size[name]
            work = partial(caption_all, paths=part, batch_size=size)
            _, wall, processor = sides.timed(name, work)
            walls[name].append(wall)
            processors[name].append(processor)
    return {
        "images_a_minute": 60 * len(paths) / sum(walls["now"]),
        "before": 60 * len(paths) / sum(walls["before"]),
        "speedup": sum(walls["before"]) / sum(walls["now"]),
        "cpu_speedup": sum(processors["before"]) / sum(processors["now"]),
    }


def caption_all(predictor: CaptionPredictor, paths: list[str], batch_size: int) -> None:
    for caption in predictor.caption_all(paths, batch_size=batch_size):
        if isinstance(caption, Exception):
            raise caption


def ratio(taken: dict[str, list[float]]) -> float:
    """Median of the pairs: neighbours on a machine that is never quite idle."""
    return statistics.median(before / now for now, before in zip(taken["now"], taken["before"], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--folder", type=int, default=100, help="images of the folder")
    parser.add_argument("--datalist", type=Path)
    parser.add_argument("--threads", type=int, default=0, help="as PyTorch chooses by default")
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--together", action="store_true")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    keep_memory()  # as the service and the bundle's runs have it
    predictor = CaptionPredictor.from_bundle(ROOT / "bundle", **(FAST if options.fast else {}))
    paths = images(options.datalist, options.images)
    if options.together:
        caption_all(predictor, paths, options.images)
        return
    configured = json.loads((ROOT / "bundle" / "configs" / "inference.json").read_text(encoding="utf-8"))
    sides = Sides(predictor, configured["batch_size"])
    warm = warm_captions(sides, paths)
    warm |= {"floor": floor(sides, paths[0]), "folder": folder(sides, images(options.datalist, options.folder))}
    print(json.dumps(warm))


if __name__ == "__main__":
    main()
