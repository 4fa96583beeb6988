"""Start a Q-Former from a BERT-style text encoder (``bert-base-uncased`` in the paper, MiniLM in the starter)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from scripts.errors import WeightsError
from scripts.networks.losses import ImageGroundedGeneration
from scripts.networks.qformer import QFormer
from scripts.weights.loading import LoadReport, load_parameters

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

_LAYER = re.compile(r"^encoder\.layer\.(\d+)\.")

# BERT's masked-language-model head to that of ITG; the output matrix of both is the word embedding.
_HEAD = {
    "cls.predictions.transform.dense.weight": "transform.weight",
    "cls.predictions.transform.dense.bias": "transform.bias",
    "cls.predictions.transform.LayerNorm.weight": "norm.weight",
    "cls.predictions.transform.LayerNorm.bias": "norm.bias",
    "cls.predictions.bias": "bias",
}


def _published(name: str) -> str:
    """BERT's own name of a parameter: without the model's prefix, norms as they are called today."""
    name = re.sub(r"^bert\.", "", name).replace("LayerNorm.gamma", "LayerNorm.weight")
    return name.replace("LayerNorm.beta", "LayerNorm.bias")


def _rename(name: str) -> str | None:
    for pattern, replacement in _RENAMES:
        renamed, count = re.subn(pattern, replacement, name)
        if count:
            return renamed
    return None


def spread_layers(own: int, bert: int) -> tuple[int, ...]:
    """Which of ``bert`` layers the ``own`` layers of a Q-Former take: evenly spread, the last one always among them.

    A text encoder's last layer is where its vectors tell texts apart. MiniLM's first three of six layers end in
    ``[CLS]`` vectors that are equal for all captions (cosine 1.0000), and image-text contrast has nothing to point at.
    """
    if own >= bert:
        return tuple(range(own))  # more layers than there are: the load then names the first that is absent
    return tuple(-(-(index + 1) * bert // own) - 1 for index in range(own))


def _taken_layers(names: Iterable[str], taken: Sequence[int]) -> Iterator[tuple[str, str]]:
    """BERT's names of what is taken, each with the name it has once the layers are counted anew."""
    number = {layer: index for index, layer in enumerate(taken)}
    for name in names:
        layer = _LAYER.match(_published(name))
        if layer is None:
            yield name, _published(name)
        elif int(layer[1]) in number:
            yield name, _LAYER.sub(f"encoder.layer.{number[int(layer[1])]}.", _published(name))


def _grow_vocabulary(words: Tensor, like: Tensor) -> Tensor:
    """Rows of added tokens (such as ``[DEC]``) come last and keep their random start."""
    grown = like.clone()
    grown[: words.shape[0]] = words
    return grown


@torch.no_grad()
def initialise_from_bert(qformer: QFormer, state: Mapping[str, Tensor], *, source: str) -> LoadReport:
    """Fill self-attention, text path and query feed-forwards of a Q-Former from BERT.

    A Q-Former of fewer layers takes BERT's spread to the last (:func:`spread_layers`). BERT adds its first token-type
    embedding to every position, so it is added to the position embeddings here: with as many layers the text path
    alone then equals BERT exactly. Query feed-forwards start as the text's, as in BLIP-2. Cross-attention and queries
    keep their random start.

    Args:
        qformer: with its text path (stage 1) or without (stage 2).
        state: BERT's state dict, with or without a leading ``bert.``.
        source: name for the report.

    Raises:
        WeightsError: a needed BERT parameter is absent or of another shape.
    """
    ours = qformer.state_dict()
    layers = 1 + max((int(m[1]) for m in map(_LAYER.match, map(_published, state)) if m), default=-1)
    renamed: dict[str, Tensor] = {}
    for name, counted in _taken_layers(state, spread_layers(len(qformer.layers), layers)):
        target = _rename(counted)
        if target is not None and not qformer.has_text:
            target = target.replace(".text_feed_forward.", ".query_feed_forward.")
        if target is not None and target in ours:
            renamed[target] = state[name].float()
    types = next((v for k, v in state.items() if k.endswith("token_type_embeddings.weight")), None)
    if types is not None and "position_embeddings.weight" in renamed:
        positions = renamed["position_embeddings.weight"] + types[0].float()
        renamed["position_embeddings.weight"] = positions[: ours["position_embeddings.weight"].shape[0]]
    if "word_embeddings.weight" in renamed:
        words = renamed["word_embeddings.weight"]
        renamed["word_embeddings.weight"] = _grow_vocabulary(words, ours["word_embeddings.weight"])
    fresh = ["query_tokens", "*.cross_attention.*"] + ["*.query_feed_forward.*"] * qformer.has_text
    report = load_parameters(qformer, renamed, source=source, required=list(ours), may_miss=fresh)
    if qformer.has_text:
        qformer.copy_text_to_query_feed_forward()
        copied = [name for name in report.random if ".query_feed_forward." in name]
        report.random = [name for name in report.random if name not in copied]
        report.loaded += copied
    return report


@torch.no_grad()
def initialise_head_from_bert(
    head: ImageGroundedGeneration, state: Mapping[str, Tensor], *, source: str
) -> LoadReport | None:
    """Start ITG's head from BERT's masked-language-model head, as the published code does; None where it has none.

    Raises:
        WeightsError: part of the head is absent, or of another shape.
    """
    named = {_published(name): value.float() for name, value in state.items()}
    absent = [name for name in _HEAD if name not in named]
    if len(absent) == len(_HEAD):
        return None
    if absent:
        raise WeightsError(f"{source} lacks {absent[0]!r}, which ITG's head needs: it is another model's or damaged")
    found = {ours: named[name] for name, ours in _HEAD.items()}
    found["bias"] = _grow_vocabulary(found["bias"], head.bias)
    return load_parameters(head, found, source=source)
