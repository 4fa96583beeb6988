"""Random transforms of one picture, on cases of several views: by themselves and in the configs that augment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose, RandAdjustContrastd, RandAffined, RandCoarseDropoutd
from PIL import Image

from scripts.data.cache.case_images import draws_at_random
from scripts.transforms.each_view import EachViewd

SIZE = 64


def parts() -> list:
    return [
        RandAffined("image", prob=0.9, rotate_range=0.15, translate_range=[6, 6], scale_range=[0.2, 0.2],
                    padding_mode="zeros", mode="bilinear"),
        RandAdjustContrastd("image", prob=0.7, gamma=[0.67, 1.5]),
        RandCoarseDropoutd("image", prob=0.5, holes=1, spatial_size=16, fill_value=0.0),
    ]  # fmt: skip


def each_view() -> Compose:
    return Compose([EachViewd("image", part) for part in parts()])


def drawn(chain: Compose, image: torch.Tensor, seed: int) -> torch.Tensor:
    return chain.set_random_state(seed=seed)({"image": image, "caption": "x"})["image"]


def test_one_view_is_bit_equal_to_the_bare_transforms() -> None:
    image = torch.rand(3, SIZE, SIZE)
    for seed in range(30):
        assert torch.equal(drawn(each_view(), image, seed), drawn(Compose(parts()), image, seed))


def test_views_are_pictures_with_draws_of_their_own_that_a_seed_repeats() -> None:
    views = torch.rand(1, 3, SIZE, SIZE).repeat(3, 1, 1, 1) * 0.5 + 0.5
    differ = 0
    for seed in range(30):
        made = drawn(each_view(), views, seed)
        assert made.shape == views.shape and not hasattr(made, "meta")
        assert (made.flatten(1).mean(dim=1) > 0.3).all()  # none black
        assert torch.equal(made, drawn(each_view(), views, seed))
        differ += not torch.equal(made[0], made[1])
    assert differ > 20
    [affine, *_] = parts()
    first = EachViewd("image", affine).set_random_state(seed=5)({"image": views})["image"][0]
    assert torch.equal(first, affine.set_random_state(seed=5)({"image": views[0]})["image"].as_tensor())


def test_a_feature_cache_knows_that_it_draws() -> None:
    assert draws_at_random(each_view())


@pytest.mark.parametrize("names", [("train", "augmented"), ("pretrain", "augmented"), ("pretrain", "tune_general")])
def test_augmenting_configs_keep_every_view_in_sight(bundle_root: Path, tmp_path: Path, names: tuple[str, str]) -> None:
    parser = ConfigParser()
    parser.read_config([str(bundle_root / "configs" / f"{name}.json") for name in names])
    parser["image_size"] = 224
    parser.parse()
    chain = parser.get_parsed_content("train#preprocessing")
    paths = [str(tmp_path / f"{view}.png") for view in range(2)]
    for seed, path in enumerate(paths):
        pixels = np.random.default_rng(seed).integers(100, 255, (90, 120), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    for seed in range(12):
        views = chain.set_random_state(seed=seed)({"image": paths, "caption": "x"})["image"]
        assert views.shape == (2, 3, 224, 224)
        assert (views.flatten(1).mean(dim=1) > 0.1).all()
        single = chain.set_random_state(seed=seed)({"image": paths[0], "caption": "x"})["image"]
        assert torch.equal(torch.as_tensor(single), views[0])  # the first view draws what a single one does
