"""Attention of Q-Former queries to image tokens, computed explicitly and followed through the layers.

The Q-Former itself attends with fused kernels, or in the absorbed form, and never holds the weights. Here the same
parameters are applied with the weights made explicit; the query states are the same (tested).

Shape legend: B images, N encoder tokens of width C, Q queries, H hidden, h heads, L cross-attending layers.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from scripts.networks.branch import Branch
from scripts.networks.qformer import Attention, QFormer


@dataclass
class Reading:
    """One pass of the queries over encoder tokens.

    Attributes:
        states: ``[B, Q, H]``, what ``Branch.forward`` returns.
        weights: per layer ``(self-attention [B, h, Q, Q], cross-attention [B, h, Q, N] or None)``.
    """

    states: Tensor
    weights: list[tuple[Tensor, Tensor | None]]


def read_tokens(branch: Branch, tokens: Tensor, token_mask: Tensor | None = None) -> Reading:
    """Queries over ``tokens`` ``[B, N, C]`` with ``token_mask`` ``[B, N]``; differentiable in every weight."""
    qformer: QFormer = branch.qformer
    memory = branch.project(tokens, token_mask)
    mask = None if memory.mask is None else memory.mask[:, None, None, :]
    hidden = qformer.embedding_norm(qformer.query_tokens.expand(len(memory.tokens), -1, -1))
    weights: list[tuple[Tensor, Tensor | None]] = []
    for layer in qformer.layers:
        hidden, own = _attend(layer.self_attention, hidden, layer.self_attention.project(hidden), None)
        cross = None
        if layer.cross_attention is not None:
            keys_values = layer.cross_attention.project(memory.tokens, memory.affine)
            hidden, cross = _attend(layer.cross_attention, hidden, keys_values, mask)
        hidden = layer.query_feed_forward(hidden)
        weights.append((own, cross))
    return Reading(hidden, weights)


def _attend(
    attention: Attention, hidden: Tensor, keys_values: tuple[Tensor, Tensor], mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """``Attention.forward`` in eval mode with its weights ``[B, h, Q, N]``; absorbed or not, the maths are the same."""
    query = attention.split(attention.query(hidden))
    keys, values = keys_values
    scores = query @ keys.transpose(-1, -2) * query.shape[-1] ** -0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    weights = scores.softmax(-1)
    context = attention.output((weights @ values).transpose(1, 2).flatten(2))
    return attention.norm(context + hidden), weights


def rollout(reading: Reading) -> Tensor:
    """Share of every encoder token in every query, ``[B, Q, N]``, rows summing to 1.

    Attention rollout (Abnar and Zuidema, ACL 2020) with a second source: every block passes half of its input on and
    takes half from what it attends (heads averaged). Self-attention mixes what queries have read, cross-attention adds
    what they read now.
    """
    read: Tensor | None = None
    for own, cross in reading.weights:
        if read is not None:
            read = 0.5 * read + 0.5 * own.mean(1) @ read
        if cross is not None:
            read = cross.mean(1) if read is None else 0.5 * read + 0.5 * cross.mean(1)
    assert read is not None  # layer 0 always attends the tokens
    return read / read.sum(-1, keepdim=True)
