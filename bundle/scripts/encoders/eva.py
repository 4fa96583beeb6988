"""EVA-CLIP ViT-g/14, the paper's general encoder, from BLIP-2's checkpoints.

BLIP-2: Li et al., ICML 2023 (arXiv 2301.12597); EVA: Fang et al., CVPR 2023 (arXiv 2211.07636). Its own final norm was
dropped there; BLIP-2's ``ln_vision`` (``post_layernorm`` in ``transformers``) is trained with the Q-Former and belongs
to the branch. Tokens are therefore given before it, which is also what a feature cache must store.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn
from transformers import Blip2VisionModel, PreTrainedModel

from scripts.encoders.class_token import ClassTokenEncoder


class EvaEncoder(ClassTokenEncoder):
    """EVA ViT-g/14, for example ``weights="Salesforce/blip2-opt-2.7b"`` (257 tokens of 1,408 at 224 px, 677 at 364).

    See :class:`.ClassTokenEncoder` for the arguments. Without weights and config it is a random ViT-g (986 M
    parameters).
    """

    model_class: ClassVar = Blip2VisionModel
    key_mapping: ClassVar = {r"^vision_model\.": ""}

    @classmethod
    def _random(cls, config: Any) -> PreTrainedModel:
        return _without_last_norm(super()._random(config))

    @classmethod
    def _pretrained(cls, name: str) -> PreTrainedModel:
        return _without_last_norm(super()._pretrained(name))


def _without_last_norm(network: PreTrainedModel) -> PreTrainedModel:
    network.post_layernorm = nn.Identity()
    return network
