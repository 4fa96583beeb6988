"""Read, window, letterbox: the three steps from a path to what the network sees, on one case of one view or several.

Nothing here imports MONAI. Its dictionary transforms (`scripts.transforms.image_steps`) and a start without MONAI
(`scripts.transforms.preprocessing`) take these same steps. Each notes what it did in the case's `ImageMeta`.

Legend of shapes: ``V`` views, ``H`` rows, ``W`` columns, ``S`` side of the square.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scripts.errors import InputError
from scripts.reading import read_case
from scripts.reading.image_meta import ImageMeta
from scripts.reading.slices import Rule
from scripts.windowing.letterbox import letterbox, pixel_aspect
from scripts.windowing.window import window_channels

Views = torch.Tensor | list[torch.Tensor]
"""``[3, H, W]``, ``[V, 3, H, W]``, or a list of ``[3, H, W]`` while views differ in size."""
Item = Mapping[Any, Any]


@dataclass(frozen=True)
class ReadViews:
    """Path, or list of paths -> tensor in physical units, and ``{key}_meta``, an `ImageMeta`.

    One view gives ``[3, H, W]`` float32; several slices of one file ``[V, 3, H, W]``; several paths a list, which
    `LetterboxViews` stacks. Grey images have three equal channels that share memory. Options: see
    `scripts.reading.read_case`. An item's ``reading`` holds such options for its own files, as data sets give them:
    ``{"slice": "even:8", "rescale": [1, -1024], "modality": "CT"}``.
    """

    slice: Rule = "middle"
    plane: str = "auto"
    frame: Rule = "auto"
    series: int | str | None = None
    modality: str | None = None
    mask_text: bool = False

    def __call__(self, item: Item, key: str = "image") -> dict[Any, Any]:
        """Raises InputError: a path cannot be read, or the list is empty."""
        paths = [item[key]] if isinstance(item[key], (str, Path)) else list(item[key])
        if not paths:
            raise InputError(f"{key}: the list of image paths is empty; give at least one")
        options = self._options(item)
        cases = [read_case(path, **options) for path in paths]
        tensors = [torch.from_numpy(case.pixels).expand(-1, 3, -1, -1) for case in cases]
        views = [view for tensor in tensors for view in tensor]
        image = views[0] if len(views) == 1 else torch.stack(views) if len(paths) == 1 else views
        meta = ImageMeta(tuple({**case.meta, "view_count": len(case.pixels)} for case in cases))
        return {**item, key: image, f"{key}_meta": meta}

    def _options(self, item: Item) -> dict[str, Any]:
        """These options under those of the item."""
        own = item.get("reading") or {}
        known = {*vars(self), "rescale"}
        if not isinstance(own, Mapping) or set(own) - known:
            raise InputError(f"{item.get('image')}: 'reading' is {own!r}; it may hold {', '.join(sorted(known))}.")
        return {**vars(self), **own}


@dataclass(frozen=True)
class WindowViews:
    """Physical values -> [0, 1]; notes ``window``. Options: see `scripts.windowing.window_image`."""

    window: str | tuple[float, float] = "auto"

    def __call__(self, item: Item, key: str = "image") -> dict[Any, Any]:
        """Raises InputError: the window is unknown or does not apply."""
        meta = _meta(item, key)
        groups = _by_file(item[key], meta)
        done = [self._window(group, of_file) for group, of_file in zip(groups, meta.views, strict=True)]
        image = _like(item[key], [tensor for tensor, _ in done])
        return {**item, key: image, f"{key}_meta": meta.noting("window", [text for _, text in done])}

    def _window(self, views: torch.Tensor, meta: Mapping[str, Any]) -> tuple[torch.Tensor, dict[str, Any]]:
        grey = meta.get("channels", views.shape[1]) == 1
        pixels = (views[:, :1] if grey else views).numpy()
        shown, description = window_channels(pixels, dict(meta), self.window)
        return torch.from_numpy(np.ascontiguousarray(shown, dtype=np.float32)).expand(-1, 3, -1, -1), description


@dataclass(frozen=True)
class LetterboxViews:
    """[0, 1] images -> square ``[3, S, S]`` or ``[V, 3, S, S]`` (`scripts.windowing.letterbox`); notes ``resize``."""

    size: int = 512

    def __call__(self, item: Item, key: str = "image") -> dict[Any, Any]:
        meta = _meta(item, key)
        groups = zip(_by_file(item[key], meta), meta.views, strict=True)
        boxed = [letterbox(group, self.size, aspect=pixel_aspect(dict(of_file))) for group, of_file in groups]
        stacked = torch.cat([tensor for tensor, _ in boxed])
        single = isinstance(item[key], torch.Tensor) and item[key].ndim == 3
        meta = meta.noting("resize", [record for _, record in boxed])
        return {**item, key: stacked[0] if single else stacked, f"{key}_meta": meta}


def _meta(item: Item, key: str) -> ImageMeta:
    return item.get(f"{key}_meta") or ImageMeta(({},))


def _by_file(image: Views, meta: ImageMeta) -> list[torch.Tensor]:
    """Views split by the file they came from, each ``[V, 3, H, W]``."""
    if isinstance(image, torch.Tensor):
        return [image[None] if image.ndim == 3 else image]
    groups, at = [], 0
    for count in meta.counts():
        groups.append(torch.stack(image[at : at + count]) if count > 1 else image[at][None])
        at += count
    return groups


def _like(image: Views, groups: list[torch.Tensor]) -> Views:
    """Groups joined again as they were in ``image``."""
    if isinstance(image, torch.Tensor):
        return groups[0][0] if image.ndim == 3 else groups[0]
    return [view for group in groups for view in group]
