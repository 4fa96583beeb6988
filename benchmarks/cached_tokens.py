"""Encoder tokens as training reads them: from shards of a feature cache."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bundle"))
from scripts.data.cache.shards import ShardStore, pack  # noqa: E402


class CachedTokens:
    """Random encoder tokens of a batch, in a feature-cache shard; read back and verified as in training."""

    def __init__(self, size: int, tokens: dict[str, tuple[int, int]]) -> None:
        generator = torch.Generator().manual_seed(1)
        self.size = size
        self._folder = tempfile.TemporaryDirectory()  # goes with this object
        self.given = {name: torch.randn(size, *shape, generator=generator) for name, shape in tokens.items()}
        self.store = ShardStore(self._folder.name)
        rows = [{name: pack(given[row], "float16") for name, given in self.given.items()} for row in range(size)]
        self.store.write([(str(row), named) for row, named in enumerate(rows)])

    def read(self) -> dict[str, Tensor]:
        """``{"general": [B, N, C], ...}``"""
        rows = [self.store.read(str(row)) for row in range(self.size)]
        return {name: torch.stack([row[name] for row in rows]) for name in self.given}
