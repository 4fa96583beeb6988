"""Pairs of captions of the same image, from a file of predictions and a file of references.

Predictions: the ``captions.jsonl`` that inference writes, a JSON list, or ImageCLEF's ``ID,Caption`` CSV. References: a
MONAI datalist (one of its splits), as JSON or JSON Lines, or the same CSV. Images match by path: the same path, or one
that ends in the other, or the same file name where it is the only one of that name.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from scripts.data.record_lines import read_json_lines
from scripts.errors import InputError


@dataclass(frozen=True)
class Item:
    """One image with its captions: several for a reference, one for a prediction (empty where none was made)."""

    image: str
    captions: tuple[str, ...]
    fields: Mapping[str, str | None] | None = None
    modality: str | None = None
    record: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Pairs:
    """Predictions beside their references, in the order of the references.

    `groups` are those of the datalist (images of one case or patient), `parts` its body parts, `failed` counts empty
    predictions, `missing` references without one.
    """

    images: list[str]
    predictions: list[str]
    references: list[tuple[str, ...]]
    fields: list[Mapping[str, str | None] | None]
    modalities: list[str | None]
    groups: list[str | None] = field(default_factory=list)
    parts: list[str | None] = field(default_factory=list)
    failed: int = 0
    missing: int = 0

    @property
    def first_references(self) -> list[str]:
        """The first reference of every image."""
        return [group[0] for group in self.references]

    @property
    def units(self) -> list[str | None] | None:
        """The groups that intervals are made over; None where no reference names one, and images are taken instead."""
        return self.groups if any(group is not None for group in self.groups) else None


def _image_name(value: object) -> str:
    """One name for an image entry; several views of a case are named by the first."""
    first = value[0] if isinstance(value, list) and value else value
    return PurePosixPath(str(first).replace("\\", "/")).as_posix()


def _item(record: Mapping[str, Any], path: Path) -> Item:
    image = record.get("image", record.get("ID"))
    if image is None:
        raise InputError(f"{path}: an entry has no 'image' (or 'ID'); every entry needs one, found {sorted(record)}")
    caption = record.get("caption", record.get("Caption"))
    captions = caption if isinstance(caption, list) else [caption]
    texts = tuple(str(text) for text in captions if text is not None) or ("",)
    return Item(_image_name(image), texts, record.get("fields"), record.get("modality"), record)


def _by_section(records: list[Mapping[str, Any]]) -> object:
    """Of a JSON Lines datalist, the entries of each section; of other lines, all."""
    sections: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        if "section" in record:
            sections.setdefault(record["section"], []).append(record)
    return sections or [record for record in records if "datalist" not in record]


def _split(content: object, path: Path, split: str | None) -> list[Mapping[str, Any]]:
    if isinstance(content, list):
        return content
    if isinstance(content, dict):
        splits = {name: value for name, value in content.items() if isinstance(value, list)}
        wanted = split or ("validation" if "validation" in splits else next(iter(splits), None))
        if wanted in splits:
            return splits[wanted]
        raise InputError(f"{path}: no split '{wanted}'; it has {', '.join(splits) or 'none'}")
    raise InputError(f"{path}: expected a datalist or a list of entries, found {type(content).__name__}")


def read_items(path: str | Path, split: str | None = None) -> list[Item]:
    """Read captions from `.jsonl`, `.json` (datalist or list) or `.csv` (`ID,Caption`).

    Raises:
        InputError: the file is absent, is none of these, or has no such split.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; give captions.jsonl, a datalist.json or an ID,Caption CSV")
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as stream:
            records: Sequence[Mapping[str, Any]] = list(csv.DictReader(stream))
    elif path.suffix == ".jsonl":
        records = _split(_by_section(read_json_lines(path)), path, split)
    else:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise InputError(
                f"{path}: not JSON ({error.msg} at line {error.lineno}); use .jsonl for JSON Lines"
            ) from None
        records = _split(content, path, split)
    items = [_item(record, path) for record in records]
    if not items:
        raise InputError(f"{path}: holds no captions")
    return items


def _suffixes(image: str) -> list[str]:
    """The path and every ending of it, longest first."""
    parts = PurePosixPath(image).parts
    return ["/".join(parts[i:]) for i in range(len(parts))]


def _index(items: Sequence[Item], path: str) -> dict[str, Item]:
    """Every path ending that names exactly one item."""
    repeated = [image for image, count in Counter(item.image for item in items).items() if count > 1]
    if repeated:
        raise InputError(f"{path}: '{repeated[0]}' occurs more than once ({len(repeated)} such images); keep one entry")
    endings = Counter(ending for item in items for ending in _suffixes(item.image))
    return {e: item for item in items for e in _suffixes(item.image) if endings[e] == 1 or e == item.image}


def match(
    predictions: Sequence[Item], references: Sequence[Item], *, allow_missing: bool = False, source: str = "predictions"
) -> Pairs:
    """Pair every reference with the prediction for the same image.

    Args:
        predictions: any order; images that no reference knows are left out.
        references: what is scored, in this order.
        allow_missing: score only the references that have a prediction, and count the others.
        source: how to call the predictions in messages.

    Raises:
        InputError: an image occurs twice, or a reference has no prediction (and `allow_missing` is off).
    """
    known = _index(predictions, source)
    found = [next((known[e] for e in _suffixes(item.image) if e in known), None) for item in references]
    absent = [item.image for item, prediction in zip(references, found, strict=True) if prediction is None]
    if absent and (not allow_missing or len(absent) == len(references)):
        raise InputError(
            f"{source}: {len(absent)} of {len(references)} references have no prediction, first '{absent[0]}'; "
            "caption all images of the split, or add --allow-missing to score only those present"
        )
    kept = [(r, p) for r, p in zip(references, found, strict=True) if p is not None]
    return Pairs(
        images=[r.image for r, _ in kept],
        predictions=[p.captions[0] for _, p in kept],
        references=[r.captions for r, _ in kept],
        fields=[r.fields for r, _ in kept],
        modalities=[r.modality for r, _ in kept],
        groups=[None if (group := r.record.get("group")) is None else str(group) for r, _ in kept],
        parts=[None if (part := r.record.get("body_part")) is None else str(part) for r, _ in kept],
        failed=sum(not p.captions[0].strip() for _, p in kept),
        missing=len(absent),
    )
