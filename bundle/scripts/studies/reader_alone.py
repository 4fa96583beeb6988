"""Captions from the concept reader alone: the row of a table that shows how much of a figure is the reader's.

    python -m scripts.studies.reader_alone --datalist DIR/datalist.json --output runs/reader_alone/captions.jsonl
    python -m scripts.metrics --predictions runs/evaluate/captions.jsonl --references DIR/datalist.json \
        --also "concept reader alone=runs/reader_alone/captions.jsonl"

Each caption names the likeliest plane, modality and organ, such as "Axial T2-weighted MRI of the head." It names no
finding. No Q-Former and no language model takes part, and what the file states is not used.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from scripts import BUNDLE
from scripts.atomic import write_text_atomically
from scripts.concepts.reader import ConceptReader, load_concept_reader
from scripts.data.datalist import load_datalist
from scripts.data.record_lines import json_line
from scripts.errors import InputError, show_sentences
from scripts.transforms.preprocessing import Preprocessing

DEFAULT_READER = BUNDLE / "models" / "concept_reader.safetensors"


def sentence(named: Mapping[str, str]) -> str:
    """A caption in the words of captions, from field values such as ``{"plane": "axial", "modality": "ct"}``."""
    text = f"{named['plane']} {named['modality']} of the {named['organ']}."
    return text[:1].upper() + text[1:]


@torch.inference_mode()
def named_fields(reader: ConceptReader, image: Tensor) -> dict[str, str]:
    """The likeliest value of each field of one image.

    Args:
        reader: what reads.
        image: in [0, 1], ``[3, S, S]`` or views ``[V, 3, S, S]``.
    """
    views = image if image.dim() == 4 else image[None]
    _, fields = reader(reader.encoder(views.float()).flatten(0, 1)[None])
    return {name: reader.vocabulary.fields[name][int(values[0].argmax())] for name, values in fields.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the captions that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m scripts.studies.reader_alone", description=__doc__.splitlines()[0])
    parser.add_argument("--datalist", type=Path, required=True, help="images with captions")
    parser.add_argument("--dataset_dir", type=Path, help="folder of the images (default: of the datalist)")
    parser.add_argument("--section", default="validation", help="of the datalist (default %(default)s)")
    parser.add_argument(
        "--reader", type=Path, default=DEFAULT_READER, help="the concept reader (default: the shipped one)"
    )
    parser.add_argument("--output", type=Path, default=Path("runs/reader_alone/captions.jsonl"), help="file to write")
    options = parser.parse_args(arguments)
    show_sentences()
    reader = load_concept_reader(options.reader)
    items = load_datalist(
        options.datalist, section=options.section, dataset_dir=options.dataset_dir or options.datalist.parent
    )
    if reader is None or not items:
        raise InputError(f"{options.datalist} has no images in {options.section!r}")
    preprocessing, lines = Preprocessing.standard(), []
    for number, item in enumerate(items, start=1):
        image, _ = preprocessing.load(item["image"])
        caption = sentence(named_fields(reader, image))
        lines.append(json_line({"image": str(item["image"]), "caption": caption}))
        print(f"\r{number} of {len(items)} read", end="", flush=True)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomically(options.output, "".join(lines))
    print(f"\n{options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
