"""Where the caption networks meet MONAI's engines: an ``Inferer`` each for captioning and for validation losses."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor, nn

from .training.precision import autocast_dtype

__all__ = ["CaptionInferer", "autocast"]


def autocast(device: torch.device, dtype: str) -> contextlib.AbstractContextManager:
    """Autocast on ``device`` to ``"bfloat16"`` or ``"float16"``; nothing for ``"float32"``."""
    chosen = autocast_dtype(dtype)
    return contextlib.nullcontext() if chosen is None else torch.autocast(device.type, dtype=chosen)


class CaptionInferer(Inferer):
    """Caption a batch, and where reference captions are given also measure their loss. Tokens are encoded once.

    Args:
        dtype: autocast precision: ``"float32"`` (off), ``"bfloat16"`` or ``"float16"``.
    """

    def __init__(self, dtype: str = "float32") -> None:
        super().__init__()
        self.dtype = dtype

    def __call__(self, inputs: Tensor | None, network: nn.Module, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """``pred`` ids ``[B, T]``, ``token_logprobs`` ``[B, T]``, ``lengths`` ``[B]``, ``captions``, maybe ``loss``.

        A batch without a readable image gives an empty dictionary.
        """
        network = getattr(network, "module", network)
        ids, mask = kwargs.pop("input_ids", None), kwargs.pop("attention_mask", None)
        prompts = kwargs.pop("prompts", None)
        if inputs is None and not kwargs:
            return {}
        with torch.no_grad(), autocast(next(network.parameters()).device, self.dtype):
            encoded = network.encode(inputs, **kwargs)
            generated = network.generate(encoded, prompts=prompts)
            result = {
                "pred": generated.token_ids,
                "token_logprobs": generated.token_logprobs,
                "lengths": generated.lengths,
                "captions": network.decode(generated.token_ids),
            }
            if ids is not None:
                cached = {f"{name}_tokens": tokens for name, (tokens, _) in encoded.items()}
                masks = {f"{name}_tokens_mask": m for name, (_, m) in encoded.items() if m is not None}
                result["loss"] = network(input_ids=ids, attention_mask=mask, **cached, **masks)["loss"]
        return result
