"""CLIP's vision transformer as the general encoder (Radford et al., ICML 2021, arXiv 2103.00020).

Tokens are those of ``CLIPVisionModel.last_hidden_state``: the class token and the patches, before the final norm.
"""

from __future__ import annotations

from typing import ClassVar

from transformers import CLIPVisionModel

from scripts.encoders.class_token import ClassTokenEncoder


class ClipEncoder(ClassTokenEncoder):
    """CLIP ViT, for example ``weights="openai/clip-vit-large-patch14"`` (257 tokens of 1,024).

    See :class:`.ClassTokenEncoder` for the arguments. Without weights and config it is a random ViT-B/32.
    """

    model_class: ClassVar = CLIPVisionModel

    def _freeze(self, trainable_blocks: int | str = 0) -> None:
        super()._freeze(trainable_blocks)
        self.network.post_layernorm.requires_grad_(False)  # it serves the pooled output only, and gets no gradient
