"""BLIP-2 in Hugging Face's layout: read a folder or hub model into a branch, write the general branch back as one.

``Salesforce/blip2-itm-vit-g`` holds stage 1 (without a word head and temperature), ``Salesforce/blip2-opt-2.7b``
stage 2. Weights may be one file or several.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn

from scripts.checkpoints.foreign import ForeignLayout, part_names, qformer_renames
from scripts.errors import WeightsError
from scripts.networks.caption_network import CaptionNetwork
from scripts.weights.files import find_file, model_files
from scripts.weights.loading import read_state

_FROZEN = ("vision_model.embeddings.", "vision_model.encoder.", "language_model.")
_HEAD_KEYS = ("vision_projection.*", "text_projection.*", "itm_head.*")
_TEXT_KEYS = (
    "embeddings.*",
    "qformer.encoder.layer.[0-9]*.intermediate.*",
    "qformer.encoder.layer.[0-9]*.output.*",
    "*.position_ids",
)


def blip2_layout(keys: Iterable[str]) -> ForeignLayout:
    """Layout of a Hugging Face BLIP-2 checkpoint: stage 1 where a retrieval head or text embedding is there."""
    marks = ("embeddings.word_embeddings.", "vision_projection.", "text_projection.", "itm_head.")
    stage1 = any(key.startswith(marks) for key in keys)
    renames = qformer_renames(
        layer="qformer.encoder.layer.",
        inner="attention",
        norm="qformer.layernorm",
        embeddings="embeddings",
        queries="query_tokens",
    )
    others = (
        (r"^token_norm\.", "vision_model.post_layernorm."),
        (r"^projection\.", "language_projection."),
        (r"^contrast\.image_projection\.", "vision_projection."),
        (r"^contrast\.text_projection\.", "text_projection."),
        (r"^matching\.head\.", "itm_head."),
    )
    return ForeignLayout(
        name=f"Hugging Face BLIP-2 stage {1 if stage1 else 2}",
        renames=renames + others,
        never=("projection.*", "generation.*", "contrast.temperature") if stage1 else (),
        belongs=("qformer.*", "query_tokens", "vision_model.post_layernorm.*", "language_projection.*"),
        optional=(*_TEXT_KEYS, *_HEAD_KEYS, "language_projection.*"),
        known=("vision_model.*", "language_model.*"),
    )


def read_blip2(source: str | Path) -> dict[str, Tensor]:
    """Parameters of a BLIP-2 folder or hub model without its frozen encoder blocks and language model.

    Raises:
        WeightsError: there is no such model within reach, or a file of it is absent or damaged.
    """
    state: dict[str, Tensor] = {}
    for file in model_files(source, kind="BLIP-2 model"):
        state.update(_read_part(file))
    return state


def _read_part(file: Path) -> dict[str, Tensor]:
    if file.suffix != ".safetensors":
        return {key: value for key, value in read_state(file).items() if not key.startswith(_FROZEN)}
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as tensors:
            return {key: tensors.get_tensor(key) for key in tensors.keys() if not key.startswith(_FROZEN)}  # noqa: SIM118
    except SafetensorError as error:
        raise WeightsError(f"weights file {file} cannot be read ({error}): fetch it again") from error


def check_heads(source: str | Path, heads: int) -> None:
    """Compare the number of attention heads, which no tensor shape shows, with the model's configuration.

    Raises:
        WeightsError: it is another.
    """
    file = find_file(source, "config.json")
    if file is None:
        return
    theirs = json.loads(file.read_text()).get("qformer_config", {}).get("num_attention_heads", 12)
    if theirs != heads:
        raise WeightsError(
            f"the Q-Former of {source} has {theirs} attention heads, this one {heads}: set qformer_heads"
        )


def export_blip2(network: CaptionNetwork, folder: str | Path) -> Path:
    """Write the general branch as a folder that ``Blip2ForConditionalGeneration.from_pretrained`` reads.

    The vocabulary grows by one row, the image placeholder that this class wants, where the tokenizer has none.

    Args:
        network: with a general branch over an EVA encoder, its tokens normalised.
        folder: to write.

    Raises:
        WeightsError: the general branch has parts that BLIP-2 has not, or language-model adapters are unmerged.
    """
    from transformers import Blip2ForConditionalGeneration

    branch = dict(network.branches.items()).get("general")
    _check_exportable(network, branch)
    language_model = network.language_model.model
    vocabulary = language_model.get_input_embeddings().num_embeddings
    config = _blip2_config(network, branch, image_token=vocabulary)
    layout, own = blip2_layout(()), network.state_dict()
    state = {layout.key(part): own[name] for part, name in part_names(network, "general").items()}
    vision = branch.encoder.network.state_dict()
    state |= {f"vision_model.{name}": value for name, value in vision.items()}
    state |= {f"language_model.{name}": value for name, value in language_model.state_dict().items()}
    with torch.device("meta"):
        model = Blip2ForConditionalGeneration(config)
    model.load_state_dict(state, strict=True, assign=True)
    _add_placeholder(model, language_model)
    model.save_pretrained(folder, max_shard_size="5GB")
    if network.tokenizer is not None:
        network.tokenizer.save_pretrained(folder)
    return Path(folder)


def _check_exportable(network: CaptionNetwork, branch: nn.Module | None) -> None:
    from scripts.encoders.eva import EvaEncoder

    if branch is None or not isinstance(branch.encoder, EvaEncoder):
        raise WeightsError("only a general branch over an EVA encoder can be written as Hugging Face BLIP-2")
    if branch.token_positions is not None or not isinstance(branch.token_norm, nn.LayerNorm):
        raise WeightsError("BLIP-2 has a token norm and no token positions: train with token_positions false to export")
    if network.language_model.tunable:
        raise WeightsError("the language model has LoRA adapters: BLIP-2's layout has no place for them")


def _blip2_config(network: CaptionNetwork, branch: nn.Module, *, image_token: int) -> object:
    from transformers import Blip2Config, Blip2QFormerConfig

    qformer = branch.qformer
    crossing = [index for index, layer in enumerate(qformer.layers) if layer.cross_attention is not None]
    qformer_config = Blip2QFormerConfig(
        hidden_size=qformer.width,
        num_hidden_layers=len(qformer.layers),
        num_attention_heads=qformer.layers[0].self_attention.heads,
        intermediate_size=qformer.layers[0].query_feed_forward.expand.out_features,
        encoder_hidden_size=qformer.encoder_width,
        cross_attention_frequency=crossing[1] if len(crossing) > 1 else len(qformer.layers),
    )
    return Blip2Config(
        vision_config=deepcopy(branch.encoder.network.config),
        qformer_config=qformer_config,
        text_config=deepcopy(network.language_model.model.config),
        num_query_tokens=qformer.query_count,
        image_token_index=image_token,
    )


def _add_placeholder(model: nn.Module, language_model: nn.Module) -> None:
    """One more vocabulary row for the image placeholder; its values are never read."""
    embedding = language_model.get_input_embeddings()
    model.language_model.resize_token_embeddings(embedding.num_embeddings + 1, mean_resizing=False)
    model.config.text_config.vocab_size = embedding.num_embeddings + 1
