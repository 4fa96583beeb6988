"""Captions of the starter in a process that holds nothing else, for `caption.py` to time.

    .venv/bin/python benchmarks/starter_captions.py [--images N] [--datalist FILE] [--fast]
    .venv/bin/python benchmarks/starter_captions.py --together [--images N] [--datalist FILE]

Neither MONAI nor transformers is imported unless the captioner itself does so. The last line is one JSON object:
`seconds` (median wall seconds of a warm caption), `steps` (medians of its parts) and `texts`. `--fast` takes `auto`
encoders and an int8 language model, `--together` captions all images as one batch and only ends.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "bundle"))

from scripts.kernels import laid_out, packed_linear  # noqa: E402
from scripts.kernels.allocator import keep_memory  # noqa: E402
from scripts.predictor import CaptionPredictor  # noqa: E402

FAST = {"amp_dtype": "auto", "language_model_dtype": "int8"}


def images(datalist: Path | None, count: int) -> list[str]:
    """Paths of images: of a datalist's validation part, or the samples of pydicom."""
    if datalist is not None:
        items = json.loads(datalist.read_text(encoding="utf-8"))["validation"]
        return [str(datalist.parent / item["image"]) for item in items[:: max(1, len(items) // count)][:count]]
    from scripts.commands.samples import write_samples

    paths = write_samples(ROOT / "runs" / "samples")
    return [str(paths[number % len(paths)]) for number in range(count)]


@contextmanager
def as_before() -> Iterator[None]:
    """Captioning as it was before encoders' weights were laid out for oneDNN and float16 weights kept as such.

    Encoders take up either way at each call; a language model is packed once each way, see `warm_captions`.
    """
    laid_out._AVAILABLE, available = False, laid_out._AVAILABLE
    packed_linear.half_product, product = (lambda linears: None), packed_linear.half_product
    try:
        yield
    finally:
        laid_out._AVAILABLE, packed_linear.half_product = available, product


def warm_captions(predictor: CaptionPredictor, paths: list[str]) -> dict[str, Any]:
    """Each image alone, after a first caption that is not counted, and in turns with it as it was before."""
    ways = {"now": nullcontext, "before": as_before}
    walls: dict[str, list[float]] = {way: [] for way in ways}
    processors: dict[str, list[float]] = {way: [] for way in ways}
    texts: dict[str, list[str]] = {way: [] for way in ways}
    steps, generator = [], predictor.network.generator
    packed = dict.fromkeys(ways)  # a language model of each way
    for number, path in enumerate([paths[0], *paths]):
        for way, entered in ways.items():
            wall, processor = time.perf_counter(), time.process_time()
            generator._packed = packed[way]
            with entered():
                caption = predictor.caption(path)
            packed[way] = generator._packed
            if number:
                walls[way].append(time.perf_counter() - wall)
                processors[way].append(time.process_time() - processor)
                texts[way].append(caption.text)
                steps += [caption.seconds] if way == "now" else []
    same = [now == before for now, before in zip(texts["now"], texts["before"], strict=True)]
    return {
        "seconds": statistics.median(walls["now"]),
        "before": statistics.median(walls["before"]),
        "speedup": ratio(walls),
        "cpu_speedup": ratio(processors),
        "equal": statistics.mean(same),
        "steps": {step: statistics.median(taken[step] for taken in steps) for step in steps[0]},
        "texts": texts["now"],
    }


def ratio(taken: dict[str, list[float]]) -> float:
    """Median of the pairs: neighbours on a machine that is never quite idle."""
    return statistics.median(before / now for now, before in zip(taken["now"], taken["before"], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--datalist", type=Path)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--together", action="store_true")
    options = parser.parse_args()
    keep_memory()  # as the service and the bundle's runs have it
    predictor = CaptionPredictor.from_bundle(ROOT / "bundle", **(FAST if options.fast else {}))
    paths = images(options.datalist, options.images)
    if options.together:
        list(predictor.caption_all(paths, batch_size=options.images))
        return
    print(json.dumps(warm_captions(predictor, paths)))


if __name__ == "__main__":
    main()
