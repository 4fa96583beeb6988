"""Dictionary transforms: path -> physical values -> [0, 1] -> square.

    Compose([LoadCased("image"), WindowToUnitd("image"), Letterboxd("image", size=512)])

Each stores what it did in ``image_meta``, a plain dictionary: ``window`` and ``resize`` join what the reader recorded.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from scripts.errors import InputError
from scripts.reading import read_case
from scripts.reading.slices import Rule
from scripts.windowing.letterbox import letterbox, pixel_aspect
from scripts.windowing.window import window_channels

Views = torch.Tensor | list[torch.Tensor]
"""``[3, H, W]``, ``[V, 3, H, W]``, or a list of ``[3, H, W]`` while views differ in size."""


class LoadCased(MapTransform):
    """Path, or list of paths -> tensor in physical units, and ``{key}_meta``.

    One view gives ``[3, H, W]`` float32; several slices of one file ``[V, 3, H, W]``; several paths a list, which
    `Letterboxd` stacks. Grey images have three equal channels that share memory. Meta of several paths is the first
    path's, with ``views`` holding all.

    An item's ``reading`` holds such options for its own files, as data sets give them:
    ``{"slice": "even:8", "rescale": [1, -1024], "modality": "CT"}``.

    Args:
        keys: of paths in the item.
        slice, plane, frame, series, modality, mask_text: see `scripts.reading.read_case`.
        allow_missing_keys: as in MONAI.

    Raises:
        InputError: a path cannot be read, or the list is empty.
    """

    def __init__(
        self, keys: KeysCollection, *, slice: Rule = "middle", plane: str = "auto", frame: Rule = "auto",
        series: int | str | None = None, modality: str | None = None, mask_text: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(keys, allow_missing_keys)
        self.options = {"slice": slice, "plane": plane, "frame": frame, "series": series, "modality": modality,
                        "mask_text": mask_text}  # fmt: skip

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            paths = item[key]
            single = isinstance(paths, (str, Path))
            options = self._options(item)
            loaded = [self._load(path, options) for path in ([paths] if single else list(paths))]
            if not loaded:
                raise InputError(f"{key}: the list of image paths is empty; give at least one")
            views = [view for tensor, _ in loaded for view in tensor]
            meta = loaded[0][1] if len(loaded) == 1 else {**loaded[0][1], "views": [m for _, m in loaded]}
            item[key] = views[0] if len(views) == 1 else torch.stack(views) if len(loaded) == 1 else views
            item[f"{key}_meta"] = meta
        return item

    def _options(self, item: Mapping[Hashable, Any]) -> dict[str, Any]:
        """The transform's options under those of the item."""
        own = item.get("reading") or {}
        known = {*self.options, "rescale"}
        if not isinstance(own, Mapping) or set(own) - known:
            raise InputError(f"{item.get('image')}: 'reading' is {own!r}; it may hold {', '.join(sorted(known))}.")
        return {**self.options, **own}

    def _load(self, path: str | Path, options: Mapping[str, Any]) -> tuple[torch.Tensor, dict[str, Any]]:
        case = read_case(path, **options)
        pixels = torch.from_numpy(case.pixels)
        case.meta["view_count"] = len(pixels)
        return pixels.expand(-1, 3, -1, -1), case.meta


class WindowToUnitd(MapTransform):
    """Physical values -> [0, 1], by `scripts.windowing.window.window_image`; records ``window`` in ``{key}_meta``.

    Args:
        keys: of images loaded by `LoadCased`.
        window: see `window_image`.
        allow_missing_keys: as in MONAI.
    """

    def __init__(
        self, keys: KeysCollection, *, window: str | tuple[float, float] = "auto", allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.window = window

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            meta = dict(item.get(f"{key}_meta") or {})
            metas = meta.get("views") or [meta]
            groups = _group(item[key], [m.get("view_count", 1) for m in metas])
            done = [self._window(group, m) for group, m in zip(groups, metas, strict=True)]
            meta["window"] = done[0][1]
            if len(done) > 1:
                meta["views"] = [{**m, "window": text} for m, (_, text) in zip(metas, done, strict=True)]
            item[key] = _ungroup(item[key], [tensor for tensor, _ in done])
            item[f"{key}_meta"] = meta
        return item

    def _window(self, views: torch.Tensor, meta: dict[str, Any]) -> tuple[torch.Tensor, dict[str, Any]]:
        grey = meta.get("channels", views.shape[1]) == 1
        pixels = (views[:, :1] if grey else views).numpy()
        shown, description = window_channels(pixels, meta, self.window)
        return torch.from_numpy(np.ascontiguousarray(shown, dtype=np.float32)).expand(-1, 3, -1, -1), description


class Letterboxd(MapTransform):
    """[0, 1] images -> square ``[3, size, size]`` or ``[V, 3, size, size]`` (`letterbox`); records ``resize``.

    Args:
        keys: of images in [0, 1].
        size: side in pixels.
        allow_missing_keys: as in MONAI.
    """

    def __init__(self, keys: KeysCollection, *, size: int = 512, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.size = size

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            meta = dict(item.get(f"{key}_meta") or {})
            metas = meta.get("views") or [meta]
            groups = _group(item[key], [m.get("view_count", 1) for m in metas])
            boxed, records = [], []
            for group, m in zip(groups, metas, strict=True):
                tensor, record = letterbox(group, self.size, aspect=pixel_aspect(m))
                boxed.append(tensor)
                records.append(record)
            stacked = torch.cat(boxed)
            item[key] = stacked[0] if isinstance(item[key], torch.Tensor) and item[key].ndim == 3 else stacked
            meta["resize"] = records[0]
            if len(records) > 1:
                meta["views"] = [{**m, "resize": r} for m, r in zip(metas, records, strict=True)]
            item[f"{key}_meta"] = meta
        return item


def _group(image: Views, counts: list[int]) -> list[torch.Tensor]:
    """Views split by the file they came from, each ``[V, 3, H, W]``."""
    if isinstance(image, torch.Tensor):
        return [image[None] if image.ndim == 3 else image]
    groups, at = [], 0
    for count in counts:
        groups.append(torch.stack(image[at : at + count]) if count > 1 else image[at][None])
        at += count
    return groups


def _ungroup(like: Views, groups: list[torch.Tensor]) -> Views:
    if isinstance(like, torch.Tensor):
        return groups[0][0] if like.ndim == 3 else groups[0]
    return [view for group in groups for view in group]
