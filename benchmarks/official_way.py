"""Training as the published code does it, written plainly from its description, over this project's parameters.

Four Q-Former passes in stage 1 (image, text, pairs, text after cached queries), keys and values of the encoder tokens
projected in every pass that reads them, attention with its scores written out, one linear layer after the other. It
serves `training_step.py` as the side to compare with, and a test that both sides compute the same losses.

Source: BLIP-2 (arXiv 2301.12597, section 3) and BERT (arXiv 1810.04805).

Shape legend: B pairs, Q queries, T text tokens, N encoder tokens, H hidden, h heads, d = H / h, D language model.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scripts.networks.branch import Branch
from scripts.networks.caption_network import CaptionNetwork
from scripts.networks.losses import hard_negatives
from scripts.networks.pretraining_network import PretrainingBranch
from scripts.networks.qformer import Attention, FeedForward, QFormer

KeysValues = tuple[Tensor, Tensor]


class Passed(NamedTuple):
    """States ``[B, S, H]`` of one pass and each layer's self-attention keys and values."""

    hidden: Tensor
    cache: list[KeysValues]


def attention(
    module: Attention, hidden: Tensor, read: Tensor, bias: Tensor | None, past: KeysValues | None = None
) -> tuple[Tensor, KeysValues]:
    """``hidden [B, S, H]`` reads ``read [B, M, C]``; ``bias`` is added to the scores, ``past`` stands in front."""
    query = module.split(module.query(hidden))
    keys, values = module.split(module.key(read)), module.split(module.value(read))
    if past is not None:
        keys, values = torch.cat([past[0], keys], 2), torch.cat([past[1], values], 2)
    scores = query @ keys.transpose(-1, -2) / query.shape[-1] ** 0.5
    if bias is not None:
        scores = scores + bias
    weights = F.dropout(scores.softmax(-1), module.dropout, module.training)
    context = module.output((weights @ values).transpose(1, 2).flatten(2))
    return module.norm(F.dropout(context, module.dropout, module.training) + hidden), (keys, values)


def feed_forward(module: FeedForward, hidden: Tensor) -> Tensor:
    update = F.dropout(module.contract(F.gelu(module.expand(hidden))), module.dropout, module.training)
    return module.norm(update + hidden)


def run(
    qformer: QFormer,
    *,
    tokens: Tensor | None = None,
    ids: Tensor | None = None,
    bias: Tensor | None = None,
    past: list[KeysValues] | None = None,
    use_queries: bool = True,
) -> Passed:
    """One pass over queries (with ``tokens [B, N, C]``), text ``ids [B, T]``, or both."""
    parts, queries = [], qformer.query_count if use_queries else 0
    if use_queries:
        parts.append(qformer.query_tokens.expand(tokens.shape[0], -1, -1))
    if ids is not None:
        parts.append(qformer.embed_text(ids))
    hidden = F.dropout(qformer.embedding_norm(torch.cat(parts, 1)), qformer.dropout, qformer.training)
    cache = []
    for number, layer in enumerate(qformer.layers):
        hidden, kept = attention(layer.self_attention, hidden, hidden, bias, past[number] if past else None)
        cache.append(kept)
        query, text = hidden[:, :queries], hidden[:, queries:]
        if queries:
            if layer.cross_attention is not None:
                query, _ = attention(layer.cross_attention, query, tokens, None)
            query = feed_forward(layer.query_feed_forward, query)
        if text.shape[1]:
            text = feed_forward(layer.text_feed_forward, text)
        hidden = torch.cat([query, text], 1)
    return Passed(hidden, cache)


def additive(mask: Tensor) -> Tensor:
    """A mask of ones and zeros as BERT adds it to the scores."""
    return (1.0 - mask.float()) * -10000.0


def stage1_losses(module: PretrainingBranch, tokens: Tensor, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """ITC, ITM and ITG of B pairs, from encoder tokens ``[B, N, C]``, ``ids`` and ``mask`` ``[B, T]``."""
    qformer, size, length = module.branch.qformer, len(ids), ids.shape[1]
    queries, smoothing = qformer.query_count, module.contrast.label_smoothing
    tokens = module.branch.token_norm(tokens)
    images = run(qformer, tokens=tokens)
    text = run(qformer, ids=ids, bias=additive(mask[:, None, None]), use_queries=False).hidden
    image_vectors = F.normalize(module.contrast.image_projection(images.hidden), dim=-1)
    text_vectors = F.normalize(module.contrast.text_projection(text[:, 0]), dim=-1)
    every = torch.matmul(image_vectors[:, None], text_vectors[None, :, :, None]).squeeze(-1)  # [B, B, Q]
    to_text = every.max(-1).values / module.contrast.temperature
    own = torch.arange(size)
    itc = (
        F.cross_entropy(to_text, own, label_smoothing=smoothing)
        + F.cross_entropy(to_text.T, own, label_smoothing=smoothing)
    ) / 2
    wrong_image, wrong_text = drawn(module, to_text)
    pair_tokens = torch.cat([tokens, tokens[wrong_image], tokens])
    pair_ids, pair_mask = torch.cat([ids, ids, ids[wrong_text]]), torch.cat([mask, mask, mask[wrong_text]])
    seen = torch.cat([pair_mask.new_ones(3 * size, queries), pair_mask], 1)
    pairs = run(qformer, tokens=pair_tokens, ids=pair_ids, bias=additive(seen[:, None, None])).hidden
    logits = module.matching.head(pairs[:, :queries]).mean(1)
    itm = F.cross_entropy(logits, torch.cat([torch.ones(size), torch.zeros(2 * size)]).long())
    target = ids.clone()
    target[:, 0] = module.decoder_token_id
    causal = torch.ones(length, length).tril() * mask[:, None]
    seen = torch.cat([mask.new_ones(size, length, queries), causal], 2)
    written = run(qformer, ids=target, bias=additive(seen[:, None]), past=images.cache, use_queries=False).hidden
    vocabulary = module.generation.logits(written, qformer.word_embeddings.weight)
    labels = ids.masked_fill(mask == 0, -100)
    itg = F.cross_entropy(vocabulary[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), label_smoothing=smoothing)
    return {"itc": itc, "itm": itm, "itg": itg}


def drawn(module: PretrainingBranch, to_text: Tensor) -> tuple[Tensor, Tensor]:
    """The hard negatives that our side draws at its first step, so that both sides see the same pairs."""
    size = len(to_text)
    noise = torch.rand(2, size, size, generator=torch.Generator().manual_seed(module.matching.seed * 1_000_003))
    right = torch.eye(size, dtype=torch.bool)
    return hard_negatives(to_text.T, right, noise[0]), hard_negatives(to_text, right, noise[1])


def stage2_loss(network: CaptionNetwork, tokens: dict[str, Tensor], ids: Tensor, mask: Tensor) -> Tensor:
    """Caption loss of B pairs through the whole language model, all logits; ``tokens`` by branch."""
    parts = [network.projections[name](query_states(branch, tokens[name])) for name, branch in network.branches.items()]
    images = torch.cat(parts, 1)
    model: nn.Module = network.language_model.model
    embeddings = torch.cat([images, model.get_input_embeddings()(ids)], 1)
    seen = torch.cat([mask.new_ones(images.shape[:2]), mask], 1)
    logits = model(inputs_embeds=embeddings, attention_mask=seen).logits
    labels = torch.cat([ids.new_full(images.shape[:2], -100), ids.masked_fill(mask == 0, -100)], 1)
    return F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())


def query_states(branch: Branch, tokens: Tensor) -> Tensor:
    return run(branch.qformer, tokens=branch.token_norm(tokens)).hidden
