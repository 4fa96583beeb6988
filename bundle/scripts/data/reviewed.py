"""Captions that people corrected, as a data set that ``configs/train.json`` takes.

A reviewed caption is about one picture: a file, a slice of a volume in a plane, a window. The picture is written as the
network sees it, so training shows the network exactly what the person saw described.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from scripts.atomic import write_text_atomically
from scripts.errors import InputError
from scripts.transforms.preprocessing import Preprocessing

HELD_OUT = 0.2
"""Share of the captions that validate, where there are enough."""
ENOUGH = 5
"""With fewer captions, or all of one group, all of them train, and the same ones validate."""


@dataclass(frozen=True)
class ReviewedCaption:
    """``caption`` of ``image`` (file or DICOM folder).

    ``name`` is the image's and stays the same. ``group`` names what belongs together, the patient or the study, where
    that is known; else the image stands for itself. Captions of one group are on one side of the split.
    """

    name: str
    image: str
    caption: str
    window: str = "auto"
    slice: Any = "middle"
    plane: str = "auto"
    group: str = ""


def write_dataset(items: Sequence[ReviewedCaption], folder: str | Path, *, image_size: int = 512) -> dict[str, Any]:
    """Write pictures and ``datalist.json`` into ``folder``.

    Which captions validate depends on their groups' names, so a caption stays on its side from one training to the
    next, as far as there are always some to validate and never more than half.

    Args:
        items: what people saved.
        folder: made if absent.
        image_size: side of the pictures.

    Returns:
        ``training`` and ``validation`` counts, ``validated_on`` (images held out, or the captions that train), and
        ``left_out``: sentences about images that could not be read.

    Raises:
        InputError: there is no caption whose image can be read.
    """
    folder = Path(folder)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    entries, groups, left_out = [], [], []
    for item in sorted(items, key=lambda item: _order(_group(item))):
        try:
            views = _views(item, image_size)
        except InputError as error:
            left_out.append(" ".join(str(error).split()))
            continue
        names = [_write(view, folder, f"{len(entries):05d}_{i}") for i, view in enumerate(views)]
        entries.append({"image": names[0] if len(names) == 1 else names, "caption": item.caption})
        groups.append(_group(item))
    if not entries:
        reason = f" ({left_out[0]})" if left_out else ""
        raise InputError(f"there is no reviewed caption to train on: correct and save some first{reason}")
    held_out = _held_out(groups)
    validation = [entry for entry, group in zip(entries, groups, strict=True) if group in held_out]
    training = [entry for entry, group in zip(entries, groups, strict=True) if group not in held_out]
    parts = {"training": training, "validation": validation or entries}
    write_text_atomically(folder / "datalist.json", json.dumps(parts, indent=1, ensure_ascii=False))
    validated_on = "images held out" if validation else "the captions that train"
    return {**{name: len(part) for name, part in parts.items()}, "validated_on": validated_on, "left_out": left_out}


def _group(item: ReviewedCaption) -> str:
    return item.group or item.name


def _order(group: str) -> float:
    """A number in [0, 1) that goes with the name, evenly spread."""
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:6], "big") / 2**48


def _held_out(groups: Sequence[str]) -> set[str]:
    """Whole groups that validate, given the group of each caption; none where all belong to one, or are too few.

    Those whose number is below the share, or else the first by number; never more than half of the captions.
    """
    sizes = Counter(groups)
    if len(groups) < ENOUGH or len(sizes) < 2:
        return set()
    chosen, captions = set(), 0
    for group in sorted(sizes, key=_order):
        wanted = _order(group) < HELD_OUT or not chosen
        if wanted and captions + sizes[group] <= len(groups) // 2:
            chosen.add(group)
            captions += sizes[group]
    return chosen


def _views(item: ReviewedCaption, size: int) -> Tensor:
    """``[V, 3, S, S]`` in [0, 1], as the network sees the picture."""
    values = {"slice": item.slice, "plane": item.plane, "window": item.window}
    image, _ = Preprocessing.standard(size).load(item.image, **values)
    return image if image.ndim == 4 else image[None]


def _write(view: Tensor, folder: Path, name: str) -> str:
    pixels = (view * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(np.ascontiguousarray(pixels)).save(folder / "images" / f"{name}.png", optimize=False)
    return f"images/{name}.png"
