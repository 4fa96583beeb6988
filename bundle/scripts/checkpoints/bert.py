"""Start a Q-Former from a BERT-style text encoder (``bert-base-uncased`` in the paper, MiniLM in the starter)."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from scripts.networks.qformer import QFormer
from scripts.weights.loading import LoadReport, load_parameters

__all__ = ["initialise_from_bert"]

# BERT's names, as published, to ours; the feed-forward block is the text path's.
_RENAMES = (
    (r"^encoder\.layer\.(\d+)\.attention\.self\.(query|key|value)\.", r"layers.\1.self_attention.\2."),
    (r"^encoder\.layer\.(\d+)\.attention\.output\.dense\.", r"layers.\1.self_attention.output."),
    (r"^encoder\.layer\.(\d+)\.attention\.output\.LayerNorm\.", r"layers.\1.self_attention.norm."),
    (r"^encoder\.layer\.(\d+)\.intermediate\.dense\.", r"layers.\1.text_feed_forward.expand."),
    (r"^encoder\.layer\.(\d+)\.output\.dense\.", r"layers.\1.text_feed_forward.contract."),
    (r"^encoder\.layer\.(\d+)\.output\.LayerNorm\.", r"layers.\1.text_feed_forward.norm."),
    (r"^embeddings\.LayerNorm\.", r"embedding_norm."),
    (r"^embeddings\.word_embeddings\.", r"word_embeddings."),
    (r"^embeddings\.position_embeddings\.", r"position_embeddings."),
)


def _rename(name: str) -> str | None:
    name = re.sub(r"^bert\.", "", name).replace("LayerNorm.gamma", "LayerNorm.weight")
    name = name.replace("LayerNorm.beta", "LayerNorm.bias")
    for pattern, replacement in _RENAMES:
        renamed, count = re.subn(pattern, replacement, name)
        if count:
            return renamed
    return None


def _grow_vocabulary(words: Tensor, like: Tensor) -> Tensor:
    """Rows of added tokens (such as ``[DEC]``) come last and keep their random start."""
    grown = like.clone()
    grown[: words.shape[0]] = words
    return grown


@torch.no_grad()
def initialise_from_bert(qformer: QFormer, state: Mapping[str, Tensor], *, source: str) -> LoadReport:
    """Fill the text path and self-attention from BERT, then copy text feed-forwards to the query feed-forwards.

    BERT adds its first token-type embedding to every position, so it is added to the position embeddings here: the
    text path alone then equals BERT exactly. Cross-attention and queries keep their random start. BERT layers beyond
    the Q-Former's are left out.

    Args:
        qformer: built with its text path.
        state: BERT's state dict, with or without a leading ``bert.``.
        source: name for the report.

    Raises:
        WeightsError: a needed BERT parameter is absent or of another shape.
    """
    ours = qformer.state_dict()
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        target = _rename(name)
        if target is not None and target in ours:
            renamed[target] = value.float()
    types = next((v for k, v in state.items() if k.endswith("token_type_embeddings.weight")), None)
    if types is not None and "position_embeddings.weight" in renamed:
        positions = renamed["position_embeddings.weight"] + types[0].float()
        renamed["position_embeddings.weight"] = positions[: ours["position_embeddings.weight"].shape[0]]
    if "word_embeddings.weight" in renamed:
        words = renamed["word_embeddings.weight"]
        renamed["word_embeddings.weight"] = _grow_vocabulary(words, ours["word_embeddings.weight"])
    fresh = ("query_tokens", "*.cross_attention.*", "*.query_feed_forward.*")
    report = load_parameters(qformer, renamed, source=source, required=list(ours), may_miss=fresh)
    qformer.copy_text_to_query_feed_forward()
    copied = [name for name in report.random if ".query_feed_forward." in name]
    report.random = [name for name in report.random if name not in copied]
    report.loaded += copied
    return report
