"""Baselines: two captioners that learn nothing, to print beside every result.

* `commonest_caption`: the same caption for every image.
* `nearest_captions`: the caption of the training image whose features are most alike (cosine of mean-pooled tokens).
  A captioner that does not beat it has learned nothing from its text.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scripts.atomic import write_atomically
from scripts.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from scripts.encoders.frozen import FrozenEncoder

_BATCH = 32
_QUERIES = 1024  # rows of the similarity matrix held in memory at a time


def commonest_caption(training: Sequence[str]) -> str:
    """The training caption that occurs most often; of equally common ones, the first."""
    if not training:
        raise InputError("the commonest caption needs a training split; the references file has none")
    return Counter(training).most_common(1)[0][0]


def _unit(features: np.ndarray) -> np.ndarray:
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def nearest_neighbours(training: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Index `[Q]` of the training row most alike each query row, by cosine.

    Args:
        training: features `[T, C]`.
        queries: features `[Q, C]`.
    """
    if training.ndim != 2 or queries.ndim != 2 or training.shape[1] != queries.shape[1]:
        raise InputError(
            f"features {training.shape} and {queries.shape} do not fit; both must be [images, channels] of one encoder"
        )
    bank = _unit(training).T
    rows = range(0, len(queries), _QUERIES)
    return np.concatenate([(_unit(queries[i : i + _QUERIES]) @ bank).argmax(axis=1) for i in rows])


def nearest_captions(training: np.ndarray, queries: np.ndarray, captions: Sequence[str]) -> list[str]:
    """For each query row the caption of its nearest training row (1-nearest-neighbour retrieval)."""
    if len(captions) != len(training):
        raise InputError(f"{len(captions)} captions for {len(training)} feature rows; both must list the same images")
    return [captions[i] for i in nearest_neighbours(training, queries)]


def square_image(path: str | Path, size: int) -> Tensor:
    """A picture as `[3, size, size]` in [0, 1], letterboxed: aspect kept, nothing cropped, centred on black."""
    import torch
    from PIL import Image

    try:
        with Image.open(path) as picture:
            colour = picture.convert("RGB")
    except OSError as error:
        raise InputError(f"{path}: cannot be read as a picture ({error}); baselines read PNG and JPEG") from None
    side = max(colour.size)
    square = Image.new("RGB", (side, side))
    square.paste(colour, ((side - colour.width) // 2, (side - colour.height) // 2))
    pixels = square.resize((size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.asarray(pixels).copy()).permute(2, 0, 1).float() / 255


def pooled_features(encoder: FrozenEncoder, images: Sequence[str | Path]) -> np.ndarray:
    """Mean-pooled tokens `[N, C]` of N pictures, in batches of 32."""
    import torch

    rows = []
    with torch.inference_mode():
        for start in range(0, len(images), _BATCH):
            batch = torch.stack([square_image(path, encoder.input_size) for path in images[start : start + _BATCH]])
            rows.append(encoder(batch).mean(dim=1))
    return torch.cat(rows).float().numpy()


def _cache_name(encoder: FrozenEncoder, images: Sequence[Path]) -> str:
    digest = hashlib.sha256(encoder.fingerprint().encode())
    for image in images:
        state = image.stat()
        digest.update(f"{image}|{state.st_size}|{state.st_mtime_ns}\n".encode())
    return f"pooled-{digest.hexdigest()[:24]}.npy"


def cached_features(images: Sequence[str | Path], cache_dir: str | Path) -> np.ndarray:
    """`pooled_features` of the starter's EfficientNet-Lite0, kept in `cache_dir` under a name that covers its inputs.

    Raises:
        InputError: a picture is missing.
    """
    from scripts.encoders.efficientnet import EfficientNetEncoder

    paths = [Path(image).resolve() for image in images]
    absent = [path for path in paths if not path.is_file()]
    if absent:
        raise InputError(f"{absent[0]}: no such picture ({len(absent)} missing); give --images, the folder they are in")
    encoder = EfficientNetEncoder(weights="starter")
    cache = Path(cache_dir) / _cache_name(encoder, paths)
    if cache.is_file():
        return np.load(cache, allow_pickle=False)
    features = pooled_features(encoder, paths)
    write_atomically(cache, lambda file: np.save(file, features))
    return features
