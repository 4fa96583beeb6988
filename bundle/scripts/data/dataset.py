"""The training data set: cases with images, or with cached encoder tokens in their place."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from monai.transforms import Compose, Randomizable
from torch import nn

from scripts.data.cache.feature_cache import FeatureCache
from scripts.data.cache.key import digest
from scripts.errors import InputError

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
    feature_cache_dir: str | os.PathLike[str] | None = None,
    encoders: Mapping[str, nn.Module] | None = None,
    seed: int = 0,
    root: str | os.PathLike[str] | None = None,
    transform_key: str = "",
    cache_dtype: str = "float16",
    compute_dtype: str | None = None,
    augmented_views: int = 0,
    batch_size: int | None = None,
    workers: int = 0,
    device: str | torch.device | None = None,
    skip_failed: bool = False,
    progress: bool = True,
) -> CaptionDataset:
    """Build the data set, from images or, with ``feature_cache_dir``, from cached tokens (missing ones are made first).

    Args:
        items: cases with absolute image paths, from ``load_datalist``.
        image_transform: case dictionary -> dictionary with ``image``, ``[3, H, W]`` or ``[V, 3, H, W]`` in [0, 1].
        text_transform: case dictionary -> dictionary, run after the image part in every epoch.
        feature_cache_dir: empty or None reads images in every epoch.
        encoders: branch name to frozen encoder; needed by the cache only.
        seed: start of random transforms.
        root: folder that paths are relative to in the cache, usually ``dataset_dir``.
        transform_key: names the image transform in the cache. Empty derives it from its settings and code; give a
            name of your own to keep a cache that took long although code changed without effect on images.
        cache_dtype: ``float16``, ``int8`` or ``float32``.
        compute_dtype: precision that encoders run in while the cache is built; None for float32.
        augmented_views: random versions of each image in the cache; 0 stores the plain image.
        batch_size, workers, device, progress: how the cache is built, see ``FeatureCache.build``.
        skip_failed: leave out cases whose image cannot be read, instead of refusing.

    Raises:
        InputError: an image cannot be read, or the cache cannot be built.
    """
    if not feature_cache_dir:
        return CaptionDataset(items, image_transform=image_transform, text_transform=text_transform, seed=seed)
    caches = feature_caches(
        feature_cache_dir,
        encoders=encoders or {},
        transform=image_transform,
        transform_key=transform_key,
        dtype=cache_dtype,
        compute_dtype=compute_dtype,
        augmented_views=augmented_views,
        root=root,
        seed=seed,
    )
    for cache in caches:
        cache.build(
            items, batch_size=batch_size, workers=workers, device=device, skip_failed=skip_failed, progress=progress
        )
    if skip_failed:
        items = [item for item in items if not any(cache.missing([item]) for cache in caches)]
    return CaptionDataset(
        items, image_transform=image_transform, text_transform=text_transform, caches=caches, seed=seed
    )


def feature_caches(
    folder: str | os.PathLike[str], *, encoders: Mapping[str, nn.Module], **options: Any
) -> list[FeatureCache]:
    """One cache an encoder: tuning one encoder again leaves the tokens of the others valid.

    Args:
        folder: ``feature_cache_dir`` of a training config.
        encoders: branch name to frozen encoder.
        options: of :class:`FeatureCache`.

    Raises:
        InputError: there is no encoder, or an option cannot be used.
    """
    if not encoders:
        raise InputError("a feature cache needs at least one encoder.")
    return [FeatureCache(folder, encoders={name: encoder}, **options) for name, encoder in encoders.items()]


def _seed(transform: Any, seed: int) -> None:
    if isinstance(transform, Compose | Randomizable):
        transform.set_random_state(seed=seed)
