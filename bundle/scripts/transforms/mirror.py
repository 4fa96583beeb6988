"""Mirror an image together with its words: what was left is right then, in the picture and in the caption."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform

_OTHER = {"left": "right", "right": "left"}
_SIDE = re.compile(r"\b(left|right)\b", re.IGNORECASE)


def mirrored(caption: str) -> str:
    """Left and right exchanged, in their own case: "Left-sided mass, LEFT lung" -> "Right-sided mass, RIGHT lung"."""

    def exchange(found: re.Match[str]) -> str:
        word, other = found.group(), _OTHER[found.group().lower()]
        return other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other

    return _SIDE.sub(exchange, caption)


class RandMirrord(RandomizableTransform, MapTransform):
    """Flip images left to right with ``prob``, and exchange the sides that the caption names.

    For encoders that learn planes, modalities and organs. A mirrored chest has its heart on the wrong side, so it is
    no augmentation for captions that doctors read.

    Args:
        keys: of images ``[C, H, W]`` or ``[V, C, H, W]``; the views of a case are mirrored together.
        caption: key of the text.
        prob: of a flip.
    """

    def __init__(self, keys: KeysCollection, caption: Hashable = "caption", prob: float = 0.5) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)
        self.caption = caption

    def __call__(self, data: Mapping[Hashable, object]) -> dict[Hashable, object]:
        done = dict(data)
        self.randomize(None)
        if self._do_transform:
            for key in self.key_iterator(done):
                done[key] = torch.flip(torch.as_tensor(done[key]), dims=(-1,))
            done[self.caption] = mirrored(done[self.caption])
        return done
