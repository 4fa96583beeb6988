"""The feature cache on real images with the starter encoders: equal, interruptible, repairable."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.transforms import Compose

from child_process import Child
from scripts.data import CacheOptions, FeatureCache, load_datalist
from scripts.data.cache import shards as cache_shards

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
COUNT = 8


def _cache(folder: Path, dataset: Path) -> FeatureCache:
    from scripts.encoders.efficientnet import EfficientNetEncoder
    from scripts.encoders.tiny_vit import TinyViTEncoder
    from scripts.errors import WeightsError
    from scripts.transforms import Letterboxd, LoadCased, WindowToUnitd

    chain = Compose([LoadCased("image"), WindowToUnitd("image", window="auto"), Letterboxd("image", size=512)])
    try:
        encoders = {
            "general": EfficientNetEncoder(weights="starter"),
            "detail": TinyViTEncoder(weights="starter", pool=4),
        }
    except WeightsError as error:
        pytest.skip(f"the starter weights are not on this machine ({error})")
    return FeatureCache(CacheOptions(folder, encoders, root=dataset, progress=False), chain)


def _build(cache: FeatureCache, items: list[dict[str, Any]]) -> None:
    torch.set_num_threads(1)
    cache_shards.SHARD_BYTES = 1  # a shard an image
    cache.build(items)


def test_an_interrupted_cache_of_real_images_ends_complete_exact_and_repairable(
    shared_data: Path, tmp_path: Path
) -> None:
    dataset = shared_data / "medcap-open"
    items = load_datalist(dataset / "datalist.json", section="validation", dataset_dir=dataset)[:COUNT]
    cache = _cache(tmp_path / "cache", dataset)
    for _ in range(2):
        before = cache.missing(items)
        child = Child(tmp_path, _build, cache, items)
        while child.running() and cache.missing(items) > before - 2:
            time.sleep(0.02)
            cache.store.reload()
        assert child.end(signal.SIGKILL) == -signal.SIGKILL
        cache.store.reload()
    assert 0 < cache.missing(items) < COUNT
    _build(cache, items)
    assert cache.missing(items) == 0
    shard = sorted(cache.folder.glob("*.safetensors"))[3]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    fresh = _cache(tmp_path / "cache", dataset)
    assert fresh.verify(items) == 1
    assert fresh.verify(items) == 0
    for item in items[::7]:
        image = fresh.transform(dict(item))["image"][None]
        for name, encoder in fresh.encoders.items():
            with torch.no_grad():
                expected = encoder(image)[0]
            tokens = fresh.tokens(item)[f"{name}_tokens"]
            assert (tokens - expected).norm() / expected.norm() < 5e-4  # float16 rounding
