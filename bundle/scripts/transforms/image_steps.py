"""MONAI's dictionary transforms over the three steps from a path to a square image.

    Compose([LoadCased("image"), WindowToUnitd("image"), Letterboxd("image", size=512)])

Each notes what it did in ``image_meta``, a `scripts.reading.image_meta.ImageMeta`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform

from scripts.reading.slices import Rule
from scripts.transforms.views import LetterboxViews, ReadViews, WindowViews


class _StepTransform(MapTransform):
    """One of the steps, applied to each key."""

    def __init__(
        self, keys: KeysCollection, step: Callable[[Mapping[Any, Any], str], dict[Any, Any]], allow_missing_keys: bool
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.step = step

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            item = self.step(item, key)
        return item


class LoadCased(_StepTransform):
    """Path, or list of paths -> tensor in physical units: `ReadViews`.

    Args:
        keys: of paths in the item.
        slice, plane, frame, series, modality, mask_text: see `scripts.reading.read_case`.
        allow_missing_keys: as in MONAI.
    """

    def __init__(
        self, keys: KeysCollection, *, slice: Rule = "middle", plane: str = "auto", frame: Rule = "auto",
        series: int | str | None = None, modality: str | None = None, mask_text: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:  # fmt: skip
        step = ReadViews(slice=slice, plane=plane, frame=frame, series=series, modality=modality, mask_text=mask_text)
        super().__init__(keys, step, allow_missing_keys)


class WindowToUnitd(_StepTransform):
    """Physical values -> [0, 1]: `WindowViews`.

    Args:
        keys: of images loaded by `LoadCased`.
        window: see `scripts.windowing.window_image`.
        allow_missing_keys: as in MONAI.
    """

    def __init__(
        self, keys: KeysCollection, *, window: str | tuple[float, float] = "auto", allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, WindowViews(window), allow_missing_keys)


class Letterboxd(_StepTransform):
    """[0, 1] images -> square: `LetterboxViews`.

    Args:
        keys: of images in [0, 1].
        size: side in pixels.
        allow_missing_keys: as in MONAI.
    """

    def __init__(self, keys: KeysCollection, *, size: int = 512, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, LetterboxViews(size), allow_missing_keys)
