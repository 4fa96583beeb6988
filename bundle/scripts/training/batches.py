"""Collated batches as the network's arguments, and its result as the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.engines import PrepareBatch
from torch import nn

from scripts.training.resumable import bare_network


class PrepareCase(PrepareBatch):
    """``prepare_batch`` of MONAI engines for caption batches.

    Args:
        network: names what it takes from a batch besides ``image``, as ``batch_names``; those that are absent from a
            batch are left out.
        without: names that it is not given. For validation by generation: ``input_ids`` and ``attention_mask``.
        use_header: also hand on what readers found in the files, as ``file_metas``, for an inferer that captions.
    """

    def __init__(self, network: nn.Module, *, without: Sequence[str] = (), use_header: bool = False) -> None:
        self.names = tuple(name for name in bare_network(network).batch_names if name not in without)
        self.use_header = use_header

    def __call__(
        self,
        batchdata: Mapping[str, Any],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor | None, None, tuple[Any, ...], dict[str, Any]]:
        """Return ``(image or None, None, (), named)`` on ``device``; the engine calls ``network(image, **named)``."""

        def move(key: str) -> torch.Tensor:
            return batchdata[key].to(device=device, non_blocking=non_blocking, **kwargs)

        image = move("image") if "image" in batchdata else None
        named: dict[str, Any] = {key: move(key) for key in self.names if key in batchdata}
        if self.use_header and image is not None:
            named["file_metas"] = [record["meta"] for record in batchdata["records"] if record["error"] is None]
        return image, None, (), named


def loss_of(prediction: Mapping[str, torch.Tensor], target: None = None) -> torch.Tensor:
    """``loss_function`` of MONAI trainers: the network computed its loss itself, ``prediction["loss"]``."""
    return prediction["loss"]


def scalars(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Those of an engine's metrics that are single numbers."""
    return {
        name: float(value)
        for name, value in metrics.items()
        if isinstance(value, int | float) or (isinstance(value, torch.Tensor) and value.numel() == 1)
    }


def loss_parts(prediction: Any) -> dict[str, torch.Tensor]:
    """Return the scalars of a network's result, detached: ``loss`` and parts named like ``general_itc``."""
    if not isinstance(prediction, Mapping):
        return {}
    return {
        name: value.detach()
        for name, value in prediction.items()
        if isinstance(value, torch.Tensor) and value.numel() == 1
    }
