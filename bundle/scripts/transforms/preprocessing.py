"""`Preprocessing`: what a config's ``preprocessing`` makes of a file or an array, for faces that have no data loader.

The network must see the same pixels whoever asks: a batch, the predictor, the service, MONAI Label or 3D Slicer. So all
run the transforms of the config itself, and a call may only replace the values that calls offer (window, slice, plane).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from typing import Any

from torch import Tensor

from scripts.errors import user_cause
from scripts.reading.image_meta import ImageMeta
from scripts.transforms.views import LetterboxViews, ReadViews, WindowViews

Transform = Callable[[dict[str, Any]], dict[str, Any]]


class Chain:
    """Transforms one after the other; what ``monai.transforms.Compose`` is for a start without MONAI."""

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = list(transforms)

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        for transform in self.transforms:
            item = transform(item)
        return item


def plain_components(refusal: type[Exception]) -> dict[str, Callable[..., Any]]:
    """What stands for ``Compose`` and our transforms in a config that is read without MONAI (`scripts.plain_config`).

    Args:
        refusal: raised for what the steps alone cannot do: other keys than ``image``, other transforms beside them.
    """

    def chain(transforms: Sequence[Transform]) -> Chain:
        if not all(isinstance(transform, (ReadViews, WindowViews, LetterboxViews)) for transform in transforms):
            raise refusal("a transform of MONAI")
        return Chain(transforms)

    def step(kind: type, keys: Any, **options: Any) -> Transform:
        if keys not in ("image", ["image"]):
            raise refusal("keys other than 'image'")
        return kind(**options)

    return {
        "Compose": chain,
        "scripts.transforms.LoadCased": partial(step, ReadViews),
        "scripts.transforms.WindowToUnitd": partial(step, WindowViews),
        "scripts.transforms.Letterboxd": partial(step, LetterboxViews),
    }


class Preprocessing:
    """A file or an array to the pixels that the network sees.

    Args:
        transform: of a config: `Chain`, a MONAI ``Compose``, or one transform. Its item has the key ``image``.
    """

    def __init__(self, transform: Transform) -> None:
        self.transform = transform

    @classmethod
    def standard(cls, size: int = 512) -> Preprocessing:
        """Read, window by modality, letterbox to ``size``."""
        return cls(Chain([ReadViews(), WindowViews(), LetterboxViews(size)]))

    def load(self, image: str | list[str], **values: Any) -> tuple[Tensor, ImageMeta]:
        """Pixels ``[3, S, S]`` or ``[V, 3, S, S]`` in [0, 1] of a path, or of several that are views of one case.

        Args:
            image: path or paths.
            values: of the steps, such as ``window``, ``slice``, ``plane``, instead of the config's; None keeps those.

        Raises:
            InputError: the image cannot be read, or a value cannot be used.
        """
        given = {name: value for name, value in values.items() if value is not None}
        item = _made(_with_values(self.transform, given), {"image": image})
        return item["image"], item["image_meta"]

    def finish(self, views: Tensor) -> tuple[Tensor, ImageMeta]:
        """The same for an array ``[3, H, W]`` or ``[V, 3, H, W]`` that is already windowed to [0, 1]."""
        meta = ImageMeta(({"reader": "array", "view_count": len(views) if views.ndim == 4 else 1},))
        item = _made(_without(self.transform, ReadViews, WindowViews), {"image": views, "image_meta": meta})
        return item["image"], item["image_meta"]


def _made(transform: Transform, item: dict[str, Any]) -> dict[str, Any]:
    """The item through the transforms."""
    try:
        return transform(item)
    except RuntimeError as error:
        if (cause := user_cause(error)) is None:
            raise
        raise cause from None


def _with_values(transform: Any, values: Mapping[str, Any]) -> Any:
    """A copy in which steps that have such values have these."""
    if not values:
        return transform
    if hasattr(transform, "transforms"):
        return _joined(transform, [_with_values(inner, values) for inner in transform.transforms])
    step = getattr(transform, "step", transform)
    if not isinstance(step, (ReadViews, WindowViews, LetterboxViews)):
        return transform
    own = {field.name for field in fields(step)}
    changed = replace(step, **{name: value for name, value in values.items() if name in own})
    if step is transform:
        return changed
    copied = copy.copy(transform)
    copied.step = changed
    return copied


def _without(transform: Any, *kinds: type) -> Any:
    """A copy without the steps of some kinds."""
    if hasattr(transform, "transforms"):
        kept = [inner for inner in transform.transforms if not isinstance(getattr(inner, "step", inner), kinds)]
        return _joined(transform, [_without(inner, *kinds) for inner in kept])
    return transform


def _joined(like: Any, transforms: list[Any]) -> Any:
    """A chain of the kind of ``like`` with other transforms."""
    joined = copy.copy(like)
    joined.transforms = transforms
    return joined
