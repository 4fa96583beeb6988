"""`CacheOptions`: where encoder tokens are kept, of which encoders, how stored and how made; one value of a config."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from scripts.data.cache.shards import STORED_DTYPES
from scripts.errors import InputError


@dataclass(frozen=True)
class CacheOptions:
    """Options of the feature cache.

    Attributes:
        folder: the cache; several settings and data sets may share it. Empty keeps none: images are read in each step.
        encoders: branch name (``general``, ``detail``) to frozen encoder, ``[B, 3, H, W] -> [B, N, C]``.
        root: folder that image paths are relative to, so that a moved data set keeps its cache.
        dtype: ``float16`` (relative error 2e-4), ``int8`` per token (7e-3, half the size) or ``float32``.
        compute_dtype: autocast precision of the encoders, ``bfloat16`` or ``float16``; ``float32`` or None is none.
        augmented_views: store this many random versions of each image; 0 stores the plain one.
        seed: start of the random versions.
        batch_size: images per encoder call; None chooses 1 on CPU and 16 elsewhere.
        workers: processes that read and transform images.
        device: where encoders run meanwhile, if anything is missing; None leaves them where they are.
        skip_failed: leave out cases that cannot be read, instead of refusing when all others are done.
        progress: show a progress bar.

    Raises:
        InputError: ``dtype``, ``compute_dtype`` or ``augmented_views`` cannot be used, or there is no encoder.
    """

    folder: str | os.PathLike[str]
    encoders: Mapping[str, nn.Module]
    root: str | os.PathLike[str] | None = None
    dtype: str = "float16"
    compute_dtype: str | None = None
    augmented_views: int = 0
    seed: int = 0
    batch_size: int | None = None
    workers: int = 0
    device: str | torch.device | None = None
    skip_failed: bool = False
    progress: bool = True

    def __post_init__(self) -> None:
        if not self.folder:
            return
        if self.dtype not in STORED_DTYPES:
            raise InputError(f"a feature cache stores {', '.join(STORED_DTYPES)}, not {self.dtype}.")
        if not self.encoders:
            raise InputError("a feature cache needs at least one encoder.")
        if self.compute_dtype not in (None, "", "float32", "bfloat16", "float16"):
            raise InputError(f"encoders run in float32, bfloat16 or float16, not {self.compute_dtype}.")
        if self.augmented_views < 0:
            raise InputError(f"augmented_views must be 0 or more, not {self.augmented_views}.")

    @property
    def autocast_dtype(self) -> str | None:
        """``compute_dtype`` where encoders run under autocast, else None."""
        return None if self.compute_dtype in ("", "float32") else self.compute_dtype
