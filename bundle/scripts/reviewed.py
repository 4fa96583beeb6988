"""Captions that people corrected, as a data set that ``configs/train.json`` takes.

A reviewed caption is about one picture: a file, a slice of a volume in a plane, a window. The picture is written as the
network sees it, so training shows the network exactly what the person saw described.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from monai.transforms import Compose
from PIL import Image
from torch import Tensor

from .atomic import write_text_atomically
from .errors import InputError
from .windowing import Letterboxd, LoadCased, WindowToUnitd

__all__ = ["ReviewedCaption", "write_dataset"]

HELD_OUT = 0.2
"""Share of the captions that validate, where there are enough."""
ENOUGH = 5
"""With fewer captions all of them train, and the same ones validate."""


@dataclass(frozen=True)
class ReviewedCaption:
    """``caption`` of ``image`` (file or DICOM folder).

    ``name`` is the image's and stays the same, so captions of several of its slices are on one side of the split.
    """

    name: str
    image: str
    caption: str
    window: str = "auto"
    slice: Any = "middle"
    plane: str = "auto"


def write_dataset(items: Sequence[ReviewedCaption], folder: str | Path, *, image_size: int = 512) -> dict[str, Any]:
    """Write pictures and ``datalist.json`` into ``folder``.

    Which captions validate depends on their names, so a caption stays on its side from one training to the next.

    Args:
        items: what people saved.
        folder: made if absent.
        image_size: side of the pictures.

    Returns:
        ``training`` and ``validation`` counts, and ``left_out``: sentences about images that could not be read.

    Raises:
        InputError: there is no caption whose image can be read.
    """
    folder = Path(folder)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    entries, left_out, held_out = [], [], 0
    for item in sorted(items, key=_order):
        try:
            views = _views(item, image_size)
        except InputError as error:
            left_out.append(" ".join(str(error).split()))
            continue
        names = [_write(view, folder, f"{len(entries):05d}_{i}") for i, view in enumerate(views)]
        entries.append({"image": names[0] if len(names) == 1 else names, "caption": item.caption})
        held_out += _order(item) < HELD_OUT
    if not entries:
        reason = f" ({left_out[0]})" if left_out else ""
        raise InputError(f"there is no reviewed caption to train on: correct and save some first{reason}")
    held_out = min(max(1, held_out), len(entries) // 2) if len(entries) >= ENOUGH else 0
    parts = {"training": entries[held_out:], "validation": entries[:held_out] or entries}
    write_text_atomically(folder / "datalist.json", json.dumps(parts, indent=1, ensure_ascii=False))
    return {**{name: len(part) for name, part in parts.items()}, "left_out": left_out}


def _order(item: ReviewedCaption) -> float:
    """A number in [0, 1) that goes with the name, evenly spread."""
    return int.from_bytes(hashlib.sha256(item.name.encode()).digest()[:6], "big") / 2**48


def _views(item: ReviewedCaption, size: int) -> Tensor:
    """``[V, 3, S, S]`` in [0, 1], as the network sees the picture."""
    chain = Compose(
        [
            LoadCased("image", slice=item.slice, plane=item.plane),
            WindowToUnitd("image", window=item.window),
            Letterboxd("image", size=size),
        ]
    )
    try:
        image = chain({"image": item.image})["image"]
    except RuntimeError as error:  # Compose wraps a transform's error
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from None
        raise
    return image if image.ndim == 4 else image[None]


def _write(view: Tensor, folder: Path, name: str) -> str:
    pixels = (view * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(np.ascontiguousarray(pixels)).save(folder / "images" / f"{name}.png", optimize=False)
    return f"images/{name}.png"
