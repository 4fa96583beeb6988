"""Random transforms that are made for one picture, on cases of several views.

A module of its own: feature caches know a transform by the code that it leans on, and this one leans on none.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Randomizable
from monai.utils import convert_to_tensor


class EachViewd(Randomizable, MapTransform):
    """Give each view of a case to ``transform`` as a picture of its own, with its own random draw.

    MONAI reads ``[V, 3, S, S]`` as a volume whose first spatial axis is the three channels, and turns and shifts it out
    of sight. A case of one view, ``[3, S, S]``, gets exactly what ``transform`` alone would make of it.

    Args:
        keys: of images ``[3, S, S]`` or ``[V, 3, S, S]``; several keys hold equally many views.
        transform: random dictionary transform of the same keys. What it does to other keys counts for one view only.
    """

    def __init__(self, keys: KeysCollection, transform: Randomizable) -> None:
        super().__init__(keys)
        self.transform = transform

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> EachViewd:
        """Seed ``transform``; the views of a case draw one after the other from there."""
        self.transform.set_random_state(seed=seed, state=state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        first = data[self.keys[0]]
        if first.ndim == 3:
            return self.transform(data)
        views = [self.transform({**data, **{key: data[key][view] for key in self.keys}}) for view in range(len(first))]
        stacked = {key: torch.stack([convert_to_tensor(view[key]) for view in views]) for key in self.keys}
        return {**data, **stacked}
