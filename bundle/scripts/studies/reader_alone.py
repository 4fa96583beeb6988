"""Captions from the concept reader alone: the row of a table that shows how much of a figure is the reader's.

    python -m scripts.studies.reader_alone --datalist DIR/datalist.json --output runs/reader_alone/captions.jsonl
    python -m scripts.metrics --predictions runs/evaluate/captions.jsonl --references DIR/datalist.json \
        --also "concept reader alone=runs/reader_alone/captions.jsonl"

Each caption names the likeliest plane, modality and organ, such as "Axial T2-weighted MRI of the head." It names no
finding. No Q-Former and no language model takes part, and what the file states is not used.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scripts import BUNDLE
from scripts.concepts.reader import ConceptReader, load_concept_reader
from scripts.errors import InputError, show_sentences
from scripts.studies.section_captions import section_items, section_parser, write_captions
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
    parser = section_parser("reader_alone", __doc__)
    parser.add_argument(
        "--reader", type=Path, default=DEFAULT_READER, help="the concept reader (default: the shipped one)"
    )
    options = parser.parse_args(arguments)
    show_sentences()
    reader, items = load_concept_reader(options.reader), section_items(options)
    if reader is None or not items:
        raise InputError(f"{options.datalist} has no images in {options.section!r}")
    preprocessing = Preprocessing.standard()

    def record_of(item: Mapping[str, Any]) -> Mapping[str, str]:
        image, _ = preprocessing.load(item["image"])
        return {"image": str(item["image"]), "caption": sentence(named_fields(reader, image))}

    write_captions(map(record_of, items), len(items), options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
