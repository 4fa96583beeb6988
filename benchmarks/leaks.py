"""Recall of planted duplicates by look, and how often two different images are taken for one.

    .venv/bin/python benchmarks/leaks.py [--quick | --smoke] [--data FOLDER]

Copies of training images are resized, recompressed, cropped, windowed otherwise, or all of these, and compared with the
training images. False alarms are images of the validation section, none of which is in training, that are said to be.
Without ``--data`` (a folder with ``datalist.json``) images are made: bodies of random ellipses.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bundle"))

from scripts.data import image_paths, load_datalist  # noqa: E402
from scripts.data.leaks import Bank, same_images  # noqa: E402
from scripts.data.leaks.bank import SAME  # noqa: E402

Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def made_body(draw: np.random.Generator, side: int = 256) -> Image.Image:
    """A bright ellipse with twenty smaller ones in it, and noise."""
    rows, columns = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    image = np.zeros((side, side))
    for number in range(21):
        centre, axes = (draw.uniform(-0.1, 0.1, 2), draw.uniform(0.6, 0.95, 2)) if number == 0 else (
            draw.uniform(-0.6, 0.6, 2), draw.uniform(0.05, 0.3, 2))  # fmt: skip
        angle = draw.uniform(0, np.pi)
        x, y = columns - centre[0], rows - centre[1]
        across, along = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        image += ((across / axes[0]) ** 2 + (along / axes[1]) ** 2 < 1) * draw.uniform(-0.5, 1)
    image = image - image.min() + draw.normal(0, 0.03, image.shape)
    return Image.fromarray((255 * np.clip(image / image.max(), 0, 1)).astype(np.uint8))


def resized(image: Image.Image, draw: np.random.Generator) -> Image.Image:
    share = draw.uniform(0.4, 0.8)
    return image.resize([max(48, int(side * share)) for side in image.size])


def recompressed(image: Image.Image, draw: np.random.Generator) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=int(draw.integers(20, 60)))
    return Image.open(stream).convert("L")


def cropped(image: Image.Image, draw: np.random.Generator) -> Image.Image:
    """Up to 5 % off each side."""
    cut = draw.uniform(0, 0.05, 4)
    return image.crop([int(cut[0] * image.width), int(cut[1] * image.height),
                       int((1 - cut[2]) * image.width), int((1 - cut[3]) * image.height)])  # fmt: skip


def cropped_all_round(image: Image.Image, draw: np.random.Generator) -> Image.Image:
    """5 % off every side."""
    width, height = image.size
    return image.crop((int(0.05 * width), int(0.05 * height), int(0.95 * width), int(0.95 * height)))


def windowed(image: Image.Image, draw: np.random.Generator) -> Image.Image:
    """A narrower window: 5 to 25 % of the pixels become black, 3 to 25 % white."""
    grey = np.asarray(image, float)
    low, high = np.percentile(grey, (draw.uniform(5, 25), draw.uniform(75, 97)))
    return Image.fromarray((np.clip((grey - low) / max(high - low, 1), 0, 1) * 255).astype(np.uint8))


def everything(image: Image.Image, draw: np.random.Generator) -> Image.Image:
    return recompressed(resized(windowed(cropped(image, draw), draw), draw), draw)


CHANGES: dict[str, Change] = {
    "resized": resized, "recompressed": recompressed, "cropped": cropped, "cropped_all_round": cropped_all_round,
    "windowed": windowed, "everything": everything,
}  # fmt: skip


def made_data(folder: Path, training: int, validation: int) -> None:
    draw = np.random.default_rng(1)
    lists: dict[str, list[dict[str, str]]] = {"training": [], "validation": []}
    for number in range(training + validation):
        made_body(draw).save(folder / f"{number}.png")
        section = "training" if number < training else "validation"
        lists[section].append({"image": f"{number}.png", "caption": "a body"})
    (folder / "datalist.json").write_text(json.dumps(lists))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer images")
    parser.add_argument("--smoke", action="store_true", help="a few images, in seconds")
    parser.add_argument("--data", type=Path, help="folder with datalist.json, training and validation")
    given = parser.parse_args()
    torch.set_num_threads(1)
    many, others, count = (20, 6, 4) if given.smoke else (200, 60, 40) if given.quick else (1000, 200, 200)
    with tempfile.TemporaryDirectory() as name:
        folder = given.data or Path(name)
        if given.data is None:
            made_data(folder, many, others)
        lists = [load_datalist("datalist.json", section=s, dataset_dir=folder) for s in ("training", "validation")]
        started = time.perf_counter()
        training, validation = (Bank(entries) for entries in lists)
        rate = (len(training.owners) + len(validation.owners)) / (time.perf_counter() - started)
        alarms = {pair.first for pair in same_images(validation, training) if pair.kind == "look"}
        found = {kind: recall(change, training, count, Path(name)) for kind, change in CHANGES.items()}
    pairs = len(validation.owners) * len(training.owners)
    print(f"{len(training.owners)} training images, {len(validation.owners)} others, threshold {SAME}")
    print(f"false alarms: {len(alarms)} of {len(validation.owners)} images, in {pairs:,} pairs")
    for kind, share in found.items():
        print(f"{kind:<20} {share:7.3f} of {count} found")
    result = {f"recall_{kind}": round(share, 4) for kind, share in found.items()}
    result |= {"false_alarms": len(alarms), "clean_images": len(validation.owners), "pairs": pairs}
    print(json.dumps({**result, "images_per_second": round(rate, 1)}))


def recall(change: Change, training: Bank, count: int, folder: Path) -> float:
    """The share of changed copies whose original is named."""
    draw = np.random.default_rng(7)
    chosen = draw.choice(len(training.entries), min(count, len(training.entries)), replace=False)
    copies = []
    for number in chosen:
        path = folder / f"copy{number}.png"
        with Image.open(image_paths(training.entries[int(number)])[0]) as image:
            change(image.convert("L"), draw).save(path)
        copies.append({"image": str(path)})
    pairs = same_images(Bank(copies), training)
    return float(np.mean([any(p.first == n and p.second == o for p in pairs) for n, o in enumerate(chosen)]))


if __name__ == "__main__":
    main()
