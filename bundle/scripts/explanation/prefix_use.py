"""Use of the prefix: how much each word of a caption rests on each position, by attention or by gradient.

Shape legend: P prefix positions, T caption tokens, W words, D language-model width, L layers, h heads, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from scripts.errors import InputError
from scripts.explanation.words import Word
from scripts.generation.decoders import base_model
from scripts.networks.language_model import LanguageModel


def token_logprobs(language_model: LanguageModel, prefix: Tensor, ids: Tensor) -> Tensor:
    """Natural logarithm of the probability of each caption token, ``[B, T]``.

    Args:
        prefix: ``[B, P, D]``; ids: ``[T]``, one caption for all prefixes.
    """
    logits = _forward(language_model, prefix, ids, logits_to_keep=len(ids) + 1).logits[:, -len(ids) - 1 : -1]
    return logits.float().log_softmax(-1).gather(-1, ids.expand(len(prefix), -1)[..., None])[..., 0]


def word_logprobs(logprobs: Tensor, words: Sequence[Word]) -> Tensor:
    """Sums over each word's tokens: ``[..., T] -> [..., W]``."""
    sums = [logprobs[..., list(word.tokens)].sum(-1) for word in words]
    return torch.stack(sums, dim=-1) if sums else logprobs.new_zeros(*logprobs.shape[:-1], 0)


def gradients(
    language_model: LanguageModel, prefix: Tensor, ids: Tensor, words: Sequence[Word]
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the words ``[W]`` and their gradients with respect to the prefix, ``[W, P, D]``.

    Args:
        prefix: ``[1, P, D]``; ids: ``[T]``.
    """
    with torch.enable_grad():
        leaf = prefix.detach().clone().requires_grad_()
        sums = word_logprobs(token_logprobs(language_model, leaf, ids)[0], words)
        parts = [torch.autograd.grad(value, leaf, retain_graph=True)[0][0] for value in sums]
    return sums.detach(), torch.stack(parts) if parts else prefix.new_zeros(0, *prefix.shape[1:])


def attention_use(
    language_model: LanguageModel, prefix: Tensor, ids: Tensor, words: Sequence[Word]
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the words ``[W]`` and the attention ``[W, P]`` that each pays to each prefix position.

    The attention is that of the position that predicts a token, averaged over layers, heads and the word's tokens.
    Language models park attention on the first position of all whatever is asked (Xiao et al., ICLR 2024); that
    position's weights say nothing, so for every position only what lies above its least attention over the caption's
    tokens counts.

    Args:
        prefix: ``[1, P, D]``; ids: ``[T]``.

    Raises:
        InputError: the language model offers no explicit attention.
    """
    start = prefix.shape[1]
    with torch.no_grad(), explicit_attention(language_model.model):
        output = _forward(language_model, prefix, ids, output_attentions=True)
    if not output.attentions or output.attentions[0] is None:
        raise InputError('this language model gives no attention weights: use explain="gradient"')
    logprobs = output.logits[0, start - 1 : -1].float().log_softmax(-1).gather(-1, ids[:, None])[:, 0]
    paid = torch.stack([layer[0, :, start - 1 : -1, :start].float().mean(0) for layer in output.attentions]).mean(0)
    paid = paid - paid.amin(0, keepdim=True) if len(paid) > 1 else paid
    parts = [paid[list(word.tokens)].mean(0) for word in words]
    return word_logprobs(logprobs, words), torch.stack(parts) if parts else paid.new_zeros(0, start)


def _forward(language_model: LanguageModel, prefix: Tensor, ids: Tensor, **options: bool) -> object:
    embedded = language_model.embed(ids[None].expand(len(prefix), -1))
    whole = torch.cat([prefix.to(language_model.dtype), embedded], dim=1)
    return language_model.model(inputs_embeds=whole, use_cache=False, **options)


@contextmanager
def explicit_attention(model: nn.Module) -> Iterator[None]:
    """The model computes attention with explicit weights inside, in its own way again after."""
    base = base_model(model)
    usual = base.config._attn_implementation
    base.set_attn_implementation("eager")
    try:
        yield
    finally:
        base.set_attn_implementation(usual)
