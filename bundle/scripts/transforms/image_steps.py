"""MONAI's dictionary transforms over the three steps from a path to a square image.

    Compose([LoadCased("image"), WindowToUnitd("image"), Letterboxd("image", size=512)])

Each notes what it did in ``image_meta``, a `scripts.reading.image_meta.ImageMeta`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform

from scripts.transforms.views import LetterboxViews, ReadViews, WindowViews

__all__ = ["Letterboxd", "LoadCased", "WindowToUnitd"]


class _StepTransform(MapTransform):
    """One of the steps, applied to each key. Subclasses say which."""

    step_class: Callable[..., Any]

    def __init__(self, keys: KeysCollection, *, allow_missing_keys: bool = False, **options: Any) -> None:
        super().__init__(keys, allow_missing_keys)
        self.step = self.step_class(**options)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            item = self.step(item, key)
        return item


class LoadCased(_StepTransform):
    """Path, or list of paths -> tensor in physical units: `ReadViews`.

    Args:
        keys: of paths in the item.
        allow_missing_keys: as in MONAI.
        options: slice, plane, frame, series, modality, mask_text: see `scripts.reading.read_case`.
    """

    step_class = ReadViews


class WindowToUnitd(_StepTransform):
    """Physical values -> [0, 1]: `WindowViews`.

    Args:
        keys: of images loaded by `LoadCased`.
        allow_missing_keys: as in MONAI.
        options: window: see `scripts.windowing.window_image`.
    """

    step_class = WindowViews


class Letterboxd(_StepTransform):
    """[0, 1] images -> square: `LetterboxViews`.

    Args:
        keys: of images in [0, 1].
        allow_missing_keys: as in MONAI.
        options: size: side in pixels.
    """

    step_class = LetterboxViews
