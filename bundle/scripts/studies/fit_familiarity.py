"""Familiarity study: which images are known, fitted on training images and on pictures that are not medical.

    .venv/bin/python benchmarks/strange_pictures.py runs/strange --count 840 --first 1001
    python -m scripts.studies.fit_familiarity --datalist DIR/datalist.json --others runs/strange

The threshold leaves ``--withheld`` of the validation images above it. Other pictures are judged by five fits that have
not seen them (every fifth file each). Writes ``models/familiarity.safetensors`` of the bundle and lists it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scripts import BUNDLE
from scripts.concepts.familiarity import Familiarity, fitted, save_familiarity
from scripts.concepts.reader import load_concept_reader
from scripts.errors import InputError, show_sentences
from scripts.transforms.preprocessing import Preprocessing
from scripts.weights.intact import refresh_sums

FOLDS = 5
PICTURES = (".png", ".jpg", ".jpeg")


@torch.no_grad()
def features_of(encoder: torch.nn.Module, images: Sequence[str | Path], batch: int = 16) -> tuple[Tensor, list[int]]:
    """Mean features ``[M, C]`` of the images that can be read, first view of each, and their places."""
    preprocessing, found, places, waiting = Preprocessing.standard(), [], [], []
    for place, image in enumerate(images):
        try:
            pixels, _ = preprocessing.load(str(image))
        except InputError as error:
            print(f"\nleft out: {error}", file=sys.stderr)
        else:
            waiting.append(pixels if pixels.ndim == 3 else pixels[0])
            places.append(place)
        if waiting and (len(waiting) == batch or place + 1 == len(images)):
            found.append(encoder(torch.stack(waiting))[:, 0])
            waiting = []
            print(f"\r{place + 1} of {len(images)} read", end="", flush=True)
    print()
    if not found:
        raise InputError("none of the images can be read")
    return torch.cat([*found, *([encoder(torch.stack(waiting))[:, 0]] if waiting else [])]), places


def with_threshold(known: Familiarity, held: Tensor, withheld: float) -> Familiarity:
    """The same, with a threshold above which lie ``withheld`` of held-out medical images ``[M, C]``."""
    threshold = float(np.quantile(known(held[:, None]).numpy(), 1 - withheld))
    return Familiarity(known.direction, known.offset, threshold)


def judged_by_others(medical: Tensor, held: Tensor, others: Tensor, withheld: float) -> Tensor:
    """Whether each other picture ``[K, C]`` is withheld by a fit that has not seen it, ``[K]`` bool."""
    found = torch.zeros(len(others), dtype=torch.bool)
    for fold in range(FOLDS):
        out = torch.arange(len(others)) % FOLDS == fold
        known = with_threshold(fitted(medical, others[~out]), held, withheld)
        found[out] = known.strange(others[out][:, None])
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study that the command line describes."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.studies.fit_familiarity", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--datalist", type=Path, required=True, help="images with captions")
    parser.add_argument("--dataset_dir", type=Path, help="folder of the images (default: of the datalist)")
    parser.add_argument("--others", type=Path, required=True, help="folder of pictures that are not medical")
    parser.add_argument("--bundle_root", type=Path, default=BUNDLE, help="the bundle's folder")
    parser.add_argument("--withheld", type=float, default=0.0075, help="share of validation images above the threshold")
    options = parser.parse_args(arguments)
    show_sentences()
    from scripts.data.datalist import image_paths, load_datalist

    models = options.bundle_root / "models"
    reader = load_concept_reader(models / "concept_reader.safetensors")
    folder = options.dataset_dir or options.datalist.parent
    parts = {
        section: [image_paths(item)[0] for item in load_datalist(options.datalist, section=section, dataset_dir=folder)]
        for section in ("training", "validation")
    }
    pictures = sorted(file for file in options.others.rglob("*") if file.suffix.lower() in PICTURES)
    if len(pictures) < 20:
        raise InputError(f"{options.others} holds {len(pictures)} pictures: give 20 or more")
    medical, held = (features_of(reader.encoder, parts[section])[0] for section in ("training", "validation"))
    others, _ = features_of(reader.encoder, pictures)
    known = with_threshold(fitted(medical, others), held, options.withheld)
    figures: dict[str, object] = {
        "medical": len(medical), "held_out": len(held), "others": len(others),
        "training_withheld": float(known.strange(medical[:, None]).float().mean()),
        "held_out_withheld": float(known.strange(held[:, None]).float().mean()),
        "others_withheld": float(judged_by_others(medical, held, others, options.withheld).float().mean()),
    }  # fmt: skip
    path = save_familiarity(known, models / "familiarity.safetensors", models / "concept_reader.safetensors", figures)
    refresh_sums([path])
    for key, value in figures.items():
        print(f"{key:20} {value:.4f}" if isinstance(value, float) else f"{key:20} {value}")
    print(f"{path}  {path.stat().st_size / 1e3:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
