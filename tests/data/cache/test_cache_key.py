"""What a cache key notices, and what it rightly ignores."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose, Lambdad, RandFlipd, ScaleIntensityRanged

from scripts.data.cache.key import describe, digest


def _key(thing: Any) -> str:
    return digest(describe(thing))


def test_settings_of_transforms_count_and_random_state_does_not() -> None:
    def chain(top: float = 1.0, prob: float = 0.5) -> Compose:
        scale = ScaleIntensityRanged("image", 0, 255, 0, top)
        return Compose([scale, RandFlipd("image", prob=prob)])

    assert _key(chain()) == _key(chain())
    used = chain()
    used.set_random_state(seed=3)
    used({"image": torch.zeros(3, 4, 4)})
    assert _key(used) == _key(chain())
    assert len({_key(chain()), _key(chain(top=2.0)), _key(chain(prob=0.1))}) == 3


def test_functions_count_by_what_they_do() -> None:
    def scaled(factor: float) -> Any:
        return lambda image: image * factor

    assert _key(scaled(2.0)) == _key(scaled(2.0))
    assert _key(scaled(2.0)) != _key(scaled(3.0))  # a closure's value
    assert _key(lambda image: image + 1) != _key(lambda image: image + 2)  # a constant
    assert _key(lambda image: image.min()) != _key(lambda image: image.max())  # a name
    assert _key(functools.partial(max, 1)) != _key(functools.partial(max, 2))
    assert _key(Lambdad("image", scaled(2.0))) != _key(Lambdad("image", scaled(3.0)))


def test_arrays_tensors_and_circles() -> None:
    assert _key(np.arange(3)) != _key(np.arange(4))
    assert _key(torch.zeros(2)) != _key(torch.ones(2))
    circle: list[Any] = [1]
    circle.append(circle)
    assert describe(circle) == [1, "<circle>"]
    assert _key({"a": {3, 1}}) == _key({"a": {1, 3}})
