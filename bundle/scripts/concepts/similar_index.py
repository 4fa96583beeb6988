"""Building an index of similar cases from a datalist's cases: their pictures are read once and not kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scripts.concepts.reader import ConceptReader
from scripts.concepts.similar_cases import SimilarCases
from scripts.transforms.preprocessing import Preprocessing

Load = Callable[[Any], Tensor]
"""The ``image`` of an item -> pixels ``[3, S, S]`` or ``[V, 3, S, S]`` in [0, 1]."""


def build_similar_cases(
    reader: ConceptReader,
    items: Sequence[Mapping[str, Any]],
    load: Load,
    *,
    dataset_dir: str | Path = "",
    keep_captions: bool = True,
    told: Callable[[int, int], None] | None = None,
) -> SimilarCases:
    """The index of a datalist's items, for this reader.

    Args:
        reader: in eval mode.
        items: with ``image`` and ``caption``.
        load: reads an image.
        dataset_dir: sources are told relative to it.
        keep_captions: store whole captions, not only what they say of plane, modality, organ and finding.
        told: how many of how many are done.

    Raises:
        InputError: an image cannot be read, or there are no two items.
    """
    tokens = mean_tokens(reader, [item["image"] for item in items], load, told)
    captions = [str(item["caption"]) for item in items]
    sources = [case_source(item, dataset_dir) for item in items]
    return SimilarCases.from_tokens(
        tokens, captions, sources, keep_captions=keep_captions, reader=reader.encoder.fingerprint()
    )


@torch.no_grad()
def mean_tokens(
    reader: ConceptReader, images: Sequence[Any], load: Load, told: Callable[[int, int], None] | None = None
) -> Tensor:
    """Mean token ``[N, C]`` of each image, over its views; see :func:`build_similar_cases`."""
    device = reader.weight.device
    rows = []
    for number, image in enumerate(images, start=1):
        pixels = load(image).to(device)
        views = pixels if pixels.ndim == 4 else pixels[None]
        rows.append(reader.encoder(views).float().mean(dim=(0, 1)).cpu())
        if told is not None:
            told(number, len(images))
    return torch.stack(rows) if rows else torch.zeros(0, reader.encoder.width)


def case_source(item: Mapping[str, Any], dataset_dir: str | Path = "") -> str:
    """Where an item comes from: collection and number where the datalist names them, else its path in the data set."""
    if item.get("source") and item.get("source_id"):
        return f"{item['source']} {item['source_id']}"
    image = item["image"]
    first = str(image if isinstance(image, str | Path) else image[0])
    inside = os.path.relpath(first, dataset_dir) if dataset_dir else first
    return first if inside.startswith("..") else inside


def export_similar_cases(
    reader: ConceptReader,
    items: Sequence[Mapping[str, Any]],
    path: str | Path,
    *,
    dataset_dir: str | Path = "",
    preprocessing: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    keep_captions: bool = True,
) -> Path:
    """Build the index of a run's training cases beside its reader, and write it.

    Args:
        reader: as its file has it, whose weights are in half precision.
        items: of training.
        path: the file to write.
        dataset_dir, keep_captions: see :func:`build_similar_cases`.
        preprocessing: of a config; read, window and letterbox by default.
    """
    steps = Preprocessing.standard() if preprocessing is None else Preprocessing(preprocessing)
    options = {"dataset_dir": dataset_dir, "keep_captions": keep_captions}
    index = build_similar_cases(reader.eval(), items, lambda image: steps.load(image)[0], **options)
    index.save(path)
    print(f"{path}  {len(index)} cases, {Path(path).stat().st_size / 1e6:.1f} MB")
    return Path(path)
