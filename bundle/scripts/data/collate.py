"""Cases of different length into one batch: padding with masks, text as lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


def collate_cases(cases: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Collate dictionaries of one case each into one batch.

    * ``image`` ``[3, H, W]`` becomes ``[B, 3, H, W]``; if any case has views ``[V, 3, H, W]``, ``image`` becomes
      ``[B, V, 3, H, W]``, zero padded, with ``image_mask [B, V]`` (bool, True where a view is).
    * ``*_tokens`` ``[N, C]`` become ``[B, N, C]``; where N differs, zero padded, with ``*_tokens_mask [B, N]`` (bool).
    * ``input_ids`` and other ``*_ids`` and ``*_mask`` ``[T]`` are padded right with 0; ``attention_mask`` is made where
      ``input_ids`` come without.
    * Other tensors of equal shape are stacked; everything else becomes a list, with None where a case lacks it.

    B = cases, V = views, N = encoder tokens, C = their width, T = text tokens.

    Raises:
        ValueError: ``cases`` is empty, or a tensor is missing in some of them.
    """
    if not cases:
        raise ValueError("collate_cases needs at least one case")
    batch: dict[str, Any] = {}
    for key in dict.fromkeys(key for case in cases for key in case):
        values = [_plain(case.get(key)) for case in cases]
        _check_complete(key, values)
        if key == "image" and isinstance(values[0], torch.Tensor):
            batch.update(_collate_images(values))
        elif key.endswith("_tokens"):
            batch.update(_collate_tokens(key, values))
        elif key.endswith(("_ids", "_mask")):
            batch[key] = _pad([torch.as_tensor(value) for value in values])
        else:
            batch[key] = _stack_or_list(values)
    if "input_ids" in batch and "attention_mask" not in batch:
        lengths = [len(case["input_ids"]) for case in cases]
        batch["attention_mask"] = _length_mask(lengths, batch["input_ids"].shape[1]).long()
    return batch


def _check_complete(key: str, values: list[Any]) -> None:
    tensor_key = key.endswith(("_tokens", "_ids", "_mask")) or any(isinstance(value, torch.Tensor) for value in values)
    if tensor_key and any(value is None for value in values):
        raise ValueError(f"'{key}' is in some cases of a batch and not in others; give it to all or to none")


def _plain(value: Any) -> Any:
    """MONAI's MetaTensor as a plain tensor: batches carry no per-file metadata."""
    return value.as_tensor() if hasattr(value, "as_tensor") else value


def _collate_images(images: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    if all(image.ndim == 3 for image in images):
        return {"image": torch.stack(images)}
    views = [image if image.ndim == 4 else image[None] for image in images]
    counts = [len(view) for view in views]
    return {"image": _pad(views), "image_mask": _length_mask(counts, max(counts))}


def _collate_tokens(key: str, tokens: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    counts = [len(token) for token in tokens]
    if len(set(counts)) == 1:
        return {key: torch.stack(tokens)}
    return {key: _pad(tokens), f"{key}_mask": _length_mask(counts, max(counts))}


def _pad(tensors: list[torch.Tensor]) -> torch.Tensor:
    """Stack tensors that differ in their first size, ``[n_i, ...] -> [B, max n, ...]``, filled with 0."""
    longest = max(len(tensor) for tensor in tensors)
    padded = tensors[0].new_zeros((len(tensors), longest, *tensors[0].shape[1:]))
    for row, tensor in zip(padded, tensors, strict=True):
        row[: len(tensor)] = tensor
    return padded


def _length_mask(lengths: list[int], longest: int) -> torch.Tensor:
    return torch.arange(longest)[None, :] < torch.tensor(lengths)[:, None]


def _stack_or_list(values: list[Any]) -> Any:
    tensors = all(isinstance(value, torch.Tensor) for value in values)
    if tensors and len({value.shape for value in values}) == 1:
        return torch.stack(values)
    return values
