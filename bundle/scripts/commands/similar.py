"""Builds an index of similar cases for a bundle's concept reader from a datalist's training cases.

    python -m scripts.commands.similar DATALIST FILE [--section training] [--captions false]

Captions of later images then show the nearest of these cases, and take findings from them where they are near enough.
Run ``python -m scripts.studies.calibrate`` afterwards: what a neighbour is worth is measured there. An index of
``--captions false`` holds what captions say of plane, modality, organ and finding, and not their text.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts import BUNDLE
from scripts.concepts.similar_index import build_similar_cases
from scripts.data.datalist import load_datalist
from scripts.errors import InputError, show_sentences
from scripts.given_values import switch
from scripts.predictor import CaptionPredictor
from scripts.weights.intact import refresh_sums


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m scripts.commands.similar", description=__doc__.splitlines()[0])
    parser.add_argument("datalist", type=Path, help="a MONAI datalist")
    parser.add_argument("--dataset_dir", type=Path, help="folder of the images (default: of the datalist)")
    parser.add_argument("output", type=Path, help="such as bundle/models/similar_cases.safetensors")
    parser.add_argument("--section", default="training", help="of the datalist")
    parser.add_argument("--captions", default="true", help="false stores what captions say, and not their text")
    parser.add_argument("--bundle_root", type=Path, default=BUNDLE, help="the bundle's folder")
    given = parser.parse_args(arguments)
    show_sentences()
    folder = given.dataset_dir or given.datalist.parent
    items = load_datalist(given.datalist, section=given.section, dataset_dir=folder, require_caption=True)
    predictor = CaptionPredictor.from_bundle(given.bundle_root, calibration="", similar_cases="")
    if predictor.network.concept_reader is None:
        raise InputError("this bundle has no concept reader: make one with configs/tune_general.json")
    index = build_similar_cases(
        predictor.network.concept_reader,
        items,
        lambda image: predictor.load(image)[0],
        dataset_dir=folder,
        keep_captions=switch(given.captions),
        told=lambda done, of: print(f"\r{done} of {of} cases", end="", flush=True),
    )
    file = index.save(given.output)
    refresh_sums([file])
    print(f"\n{file}  {len(index)} cases, {file.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
