"""Small frozen encoders and images for the feature cache tests."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn


class TinyEncoder(nn.Module):
    """4x4 patches of an 8x8 image through one frozen linear layer: ``[B, 3, 8, 8] -> [B, 4, width]``."""

    def __init__(self, width: int = 6, seed: int = 0, scale: float = 1.0) -> None:
        super().__init__()
        self.width, self.token_count, self.grid = width, 4, (2, 2)
        self.conv = nn.Conv2d(3, width, 4, stride=4)
        generator = torch.Generator().manual_seed(seed)
        self.conv.weight.data = torch.randn(self.conv.weight.shape, generator=generator) * scale
        self.conv.bias.data.zero_()
        self.requires_grad_(False)
        self.calls = 0

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.conv(image).flatten(2).transpose(1, 2)

    def fingerprint(self) -> str:
        return hashlib.sha256(self.conv.weight.numpy().tobytes()).hexdigest()


class ReadPicture:
    """Reads PNG views of a case; ``gain`` stands for any setting of a transform."""

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def __call__(self, case: dict[str, Any]) -> dict[str, Any]:
        paths = case["image"]
        views = [self._read(path) for path in ([paths] if isinstance(paths, str) else paths)]
        return {**case, "image": views[0] if isinstance(paths, str) else torch.stack(views)}

    def _read(self, path: str) -> torch.Tensor:
        with Image.open(path) as picture:
            pixels = torch.frombuffer(bytearray(picture.convert("RGB").tobytes()), dtype=torch.uint8)
        return pixels.reshape(8, 8, 3).permute(2, 0, 1) / 255.0 * self.gain


def make_pictures(folder: Path, count: int) -> list[dict[str, Any]]:
    """Write ``count`` different 8x8 PNG files; returns their cases."""
    generator = torch.Generator().manual_seed(1)
    items = []
    for index in range(count):
        pixels = torch.randint(0, 256, (8, 8, 3), dtype=torch.uint8, generator=generator).numpy()
        path = folder / f"{index:03d}.png"
        Image.fromarray(pixels).save(path)
        items.append({"image": str(path), "caption": f"caption {index}"})
    return items


def two_encoders() -> dict[str, nn.Module]:
    return {"general": TinyEncoder(6, seed=1), "detail": TinyEncoder(4, seed=2)}


def build_slowly(folder: Path, items: list[dict[str, Any]], pause: float) -> None:
    """Build a cache with tiny shards; the parent kills this process somewhere in between."""
    from scripts.data import CacheOptions, FeatureCache
    from scripts.data.cache import shards as cache_shards

    cache_shards.SHARD_BYTES = 200
    encoders = two_encoders()
    forward = encoders["detail"].forward

    def slow(image: torch.Tensor) -> torch.Tensor:
        time.sleep(pause)
        return forward(image)

    encoders["detail"].forward = slow  # type: ignore[method-assign]
    FeatureCache(CacheOptions(folder, encoders, progress=False), ReadPicture()).build(items)
