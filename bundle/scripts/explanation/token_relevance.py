"""Relevance of encoder tokens to words: to first order, what a word would lose if the token were average.

A word's log-probability is expanded around the tokens at hand (the first term of Taylor's series, gradient times
change), each token in turn replaced by the mean of the image's tokens. That is the question which hiding a place asks,
answered for all places by one backward pass.

Shape legend: N encoder tokens of width C, Q queries, D language-model width, W words.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scripts.networks.branch import Branch


def token_relevance(
    branch: Branch, projection: nn.Linear, tokens: Tensor, token_mask: Tensor | None, gradient: Tensor
) -> Tensor:
    """Support of every token for every word in nats, ``[W, N]``; negative where a token speaks against the word.

    Args:
        branch: whose Q-Former reads the tokens; projection: its states to the language model's width.
        tokens: ``[1, N, C]``; token_mask: ``[1, N]``, True where real; None when all are.
        gradient: of each word's log-probability with respect to the branch's part of the prefix, ``[W, Q, D]``.
    """
    with torch.enable_grad():
        leaf = tokens.detach().float().clone().requires_grad_()
        prefix = projection(branch(leaf, token_mask))[0]
        parts = [torch.autograd.grad(prefix, leaf, word.to(prefix.dtype), retain_graph=True)[0][0] for word in gradient]
    if not parts:
        return tokens.new_zeros(0, tokens.shape[1])
    values = leaf.detach()[0]
    real = values.new_ones(len(values), 1) if token_mask is None else token_mask[0, :, None].to(values.dtype)
    mean = (values * real).sum(0) / real.sum()
    return torch.einsum("wnc,nc->wn", torch.stack(parts), (values - mean) * real)
