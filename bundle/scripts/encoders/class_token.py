"""Base of CLIP and EVA: a ``transformers`` vision transformer with a class token, from a hub name, folder or config.

Shape legend: B images, N = 1 + h * w tokens, C width, S the encoder's input size.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn
from transformers import PreTrainedModel

from scripts.encoders.frozen import FrozenEncoder
from scripts.errors import InputError

# OpenAI's statistics; CLIP and BLIP-2's EVA-CLIP were both trained with them.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
INITIAL_STD = 0.02  # the published configurations carry 1e-10, which would make random weights all but zero


class ClassTokenEncoder(FrozenEncoder):
    """Images ``[B, 3, H, H]`` in [0, 1] -> tokens ``[B, N, C]``: the class token, then the patches row by row.

    Args:
        weights: folder or hub name of a checkpoint, or None for random weights.
        config: dimensions for random weights, by the names of the network's ``transformers`` configuration.
        input_size: side of the square that the network sees, a multiple of the patch; position embeddings are
            interpolated where the checkpoint has another. By default the checkpoint's own.
        trainable_blocks: how many of the last blocks are tuned, or "all".

    Raises:
        InputError: an impossible option.
        WeightsError: the weights cannot be had, or are not this network's.
    """

    model_class: ClassVar[type[PreTrainedModel]]
    key_mapping: ClassVar[dict[str, str]] = {}

    def __init__(
        self,
        *,
        weights: str | Path | None = None,
        config: Mapping[str, Any] | None = None,
        input_size: int | None = None,
        trainable_blocks: int | Literal["all"] = 0,
    ) -> None:
        if weights is not None and config is not None:
            raise InputError("an encoder takes weights (which bring their configuration) or config, not both")
        network = self._random(config or {}) if weights is None else self._pretrained(str(weights))
        own_size, patch = int(network.config.image_size), int(network.config.patch_size)
        input_size = input_size or own_size
        if input_size < patch or input_size % patch:
            raise InputError(f"input_size of this encoder is a multiple of its patch, {patch}, not {input_size}")
        super().__init__(
            width=network.config.hidden_size,
            grid=(input_size // patch, input_size // patch),
            leading_tokens=1,
            input_size=input_size,
            mean=CLIP_MEAN,
            std=CLIP_STD,
            interpolation="bicubic",
        )
        self.network = network
        self.interpolate = input_size != own_size
        self._freeze(trainable_blocks)

    @classmethod
    def _random(cls, config: Mapping[str, Any]) -> PreTrainedModel:
        try:
            return cls.model_class(cls.model_class.config_class(**{"initializer_range": INITIAL_STD, **config}))
        except (TypeError, ValueError, StrictDataclassError) as error:
            raise InputError(f"config does not describe a {cls.model_class.__name__}: {error}") from error

    @classmethod
    def _pretrained(cls, name: str) -> PreTrainedModel:
        from scripts.weights.pretrained import load_pretrained

        options = {"key_mapping": cls.key_mapping} if cls.key_mapping else {}
        network, report = load_pretrained(cls.model_class, name, part="vision_model.", dtype="float32", **options)
        report.log()
        return network

    def block_groups(self) -> list[list[nn.Module]]:
        return [[layer] for layer in self.network.encoder.layers]

    def encode(self, pixels: Tensor) -> Tensor:
        """Tokens ``[B, N, C]`` of normalised pixels ``[B, 3, S, S]``, the last block's output."""
        return self.network(pixels, interpolate_pos_encoding=self.interpolate).last_hidden_state
