"""Captions where the index of similar cases also holds the other images of the section: what an archive adds.

    python -m scripts.studies.with_archive --datalist DIR/datalist.json --output runs/with_archive/captions.jsonl
    python -m scripts.metrics --predictions runs/evaluate/captions.jsonl --references DIR/datalist.json \
        --also "starter with archive=runs/with_archive/captions.jsonl"

A section that is split by group shows a patient who was never seen: no case of the same patient or disease is in the
index. A hospital's archive holds earlier images of its patients. Here each image is captioned with all others of the
section in the index, as a split by image would have it; only the image itself is left out. No network learns from them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

from torch import Tensor

from scripts import BUNDLE
from scripts.concepts.similar_cases import COUNT, SimilarCase, SimilarCases
from scripts.concepts.similar_index import mean_tokens
from scripts.errors import InputError, show_sentences
from scripts.predictor import CaptionPredictor
from scripts.studies.section_captions import section_items, section_parser, write_captions


class Archive:
    """An index of similar cases with all items of a section, of which one may be left out.

    Args:
        cases: of the training cases.
        tokens: mean tokens ``[N, C]`` of the items.
        items: with ``caption``.
    """

    def __init__(self, cases: SimilarCases, tokens: Tensor, items: Sequence[Mapping[str, Any]]) -> None:
        names = [_name(number) for number in range(len(items))]
        self.cases = cases.with_cases(tokens, [item["caption"] for item in items], names)
        self.left_out = ""

    def without(self, number: int) -> Archive:
        """The same archive, but for one item."""
        other = copy(self)
        other.left_out = _name(number)
        return other

    def nearest(self, tokens: Tensor, count: int = COUNT) -> list[list[SimilarCase]]:
        """As :meth:`SimilarCases.nearest`."""
        found = self.cases.nearest(tokens, count + 1)
        return [[case for case in row if case.source != self.left_out][:count] for row in found]


def _name(number: int) -> str:
    return f"item {number} of the section"


def archive_of(predictor: CaptionPredictor, items: Sequence[Mapping[str, Any]]) -> tuple[Archive, Tensor] | None:
    """The archive of a section's items, with their mean tokens ``[N, C]``; None where the reader has no index.

    Pictures are read: an index holds no features of them.
    """
    reader = predictor.network.concept_reader
    if reader is None or reader.cases is None:
        return None
    tokens = mean_tokens(reader, [item["image"] for item in items], lambda image: predictor.load(image)[0])
    return Archive(reader.cases, tokens, items), tokens


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the captions that the command line asks for."""
    parser = section_parser("with_archive", __doc__)
    parser.add_argument("--bundle_root", type=Path, default=BUNDLE, help="the bundle's folder")
    options = parser.parse_args(arguments)
    show_sentences()
    items = [item for item in section_items(options) if item.get("caption")]
    predictor = CaptionPredictor.from_bundle(options.bundle_root, findings="always", abstain_below=0.0, anything=True)
    found = archive_of(predictor, items) if items else None
    if found is None:
        raise InputError("captions with an archive need captioned images and an index of similar cases")

    def records() -> Iterator[Mapping[str, Any]]:
        for number, item in enumerate(items):  # one by one: each has another index
            predictor.network.concept_reader.cases = found[0].without(number)
            yield predictor.caption(item["image"]).record

    write_captions(records(), len(items), options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
