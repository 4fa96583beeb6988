"""The training data set: cases with images, or with cached encoder tokens in their place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from monai.transforms import Compose, Randomizable

from scripts.data.cache.cache_options import CacheOptions
from scripts.data.cache.feature_cache import FeatureCache, feature_caches
from scripts.data.cache.key import digest

Transform = Callable[[dict[str, Any]], dict[str, Any]]


class CaptionDataset(torch.utils.data.Dataset):
    """Cases as dictionaries: transformed text, and either ``image`` or ``general_tokens`` / ``detail_tokens``.

    Random transforms draw from (seed, epoch, case), not from a running generator: a case looks the same whichever
    worker prepares it, and a resumed epoch goes on with the same images.

    Args:
        items: cases with absolute image paths.
        image_transform: case dictionary -> dictionary with the ``image`` tensor; unused when there are ``caches``.
        text_transform: case dictionary -> dictionary with ``input_ids`` and what else the network reads.
        caches: feature caches that hold the tokens of these cases, one an encoder or more; empty reads images.
        seed: start of all random transforms.
    """

    def __init__(
        self,
        items: Sequence[dict[str, Any]],
        *,
        image_transform: Transform,
        text_transform: Transform | None = None,
        caches: Sequence[FeatureCache] = (),
        seed: int = 0,
    ) -> None:
        self.data = items  # a list, or a datalist that stays on the disk
        self.image_transform = image_transform
        self.text_transform = text_transform
        self.caches = tuple(caches)
        self.seed = seed
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # seen by workers that live on

    @property
    def epoch(self) -> int:
        """The epoch that random transforms draw for."""
        return int(self._epoch)

    def __len__(self) -> int:
        return len(self.data)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that random transforms draw for; a sampler calls this before workers start."""
        self._epoch.fill_(epoch)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one case; ``image_path`` names its files."""
        item = self.data[index]
        draw = int(digest([self.seed, self.epoch, index])[:8], 16)
        case = {**item, "image_path": item["image"]}
        if self.caches:
            del case["image"]
            for cache in self.caches:
                case.update(cache.tokens(item, view=draw % max(1, cache.augmented_views)))
        else:
            _seed(self.image_transform, draw)
            case.update(self.image_transform(dict(item)))
        if self.text_transform is not None:
            _seed(self.text_transform, draw)
            case = self.text_transform(case)
        return case


def caption_dataset(
    items: Sequence[dict[str, Any]],
    *,
    image_transform: Transform,
    text_transform: Transform | None = None,
    cache: CacheOptions | None = None,
    augmented_views: int = 0,
    seed: int = 0,
) -> CaptionDataset:
    """Build the data set, from images or, with a ``cache``, from cached tokens (missing ones are made first).

    Args:
        items: cases with absolute image paths, from ``load_datalist``.
        image_transform: case dictionary -> dictionary with ``image``, ``[3, H, W]`` or ``[V, 3, H, W]`` in [0, 1].
        text_transform: case dictionary -> dictionary, run after the image part in every epoch.
        cache: None, or one without a folder, reads images in every epoch.
        augmented_views: random versions of each image in the cache; 0 stores the plain image.
        seed: start of random transforms.

    Raises:
        InputError: an image cannot be read, or the cache cannot be built.
    """
    caches: list[FeatureCache] = []
    if cache is not None and cache.folder:
        caches = feature_caches(replace(cache, augmented_views=augmented_views, seed=seed), image_transform)
        for one in caches:
            one.build(items)
        if cache.skip_failed:
            items = [item for item in items if not any(one.missing([item]) for one in caches)]
    return CaptionDataset(
        items, image_transform=image_transform, text_transform=text_transform, caches=caches, seed=seed
    )


def _seed(transform: Any, seed: int) -> None:
    if isinstance(transform, Compose | Randomizable):
        transform.set_random_state(seed=seed)
