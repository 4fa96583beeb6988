"""``Inferer`` classes of MONAI's engines: captioning, and validation losses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor, nn

from scripts.captioning import caption_batch
from scripts.given_values import switch
from scripts.kernels.precision import autocast
from scripts.provenance.timing import StepTimer


class CaptionInferer(Inferer):
    """Caption a batch, and where reference captions are given also measure their loss. Tokens are encoded once.

    Args:
        dtype: autocast precision: ``"float32"`` (off), ``"bfloat16"``, ``"float16"`` or ``"auto"``.
        explain: False, True (the default method) or a method of ``explain``: explanations with each caption.
        samples: captions to draw for each image besides, with ``seed``, to see whether they agree.
    """

    def __init__(self, dtype: str = "float32", *, explain: bool | str = False, samples: int = 0, seed: int = 0) -> None:
        super().__init__()
        self.dtype = dtype
        self.asked = {"explain": switch(explain), "samples": samples, "seed": seed}

    def __call__(self, inputs: Tensor | None, network: nn.Module, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """``pred`` (token ids ``[B, T]``), ``captioned`` (a `CaptionedBatch`), and ``loss`` where captions are given.

        A batch without a readable image gives an empty dictionary.
        """
        network = getattr(network, "module", network)
        ids, mask = kwargs.pop("input_ids", None), kwargs.pop("attention_mask", None)
        if inputs is None and not kwargs:
            return {}
        timer = StepTimer(next(network.parameters()).device)
        made = caption_batch(network, inputs, dtype=self.dtype, timer=timer, **self.asked, **kwargs)
        result: dict[str, Any] = {"pred": made.token_ids, "captioned": replace(made, encoded={})}
        if ids is not None:
            cached = {f"{name}_tokens": tokens for name, (tokens, _) in made.encoded.items()}
            masks = {f"{name}_tokens_mask": m for name, (_, m) in made.encoded.items() if m is not None}
            with torch.no_grad(), autocast(next(network.parameters()).device, self.dtype):
                result["loss"] = network(input_ids=ids, attention_mask=mask, **cached, **masks)["loss"]
        return result
