"""Rules that change next-token scores: repetition, length and the shape of the distribution.

Each takes the captions so far `[N, t]` and scores `[N, V]` and returns scores `[N, V]`; the input is never written to.
The rules and their order are those of `transformers.generate`, which has no `no_repeated_words`; captions hold new
tokens only, so a prefix is never "repeated".
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from scripts.generation.options import GenerationOptions
from scripts.generation.repeats import no_repeated_words
from scripts.generation.stopping import TextDecoder

Rule = Callable[[Tensor, Tensor], Tensor]


def repetition(penalty: float) -> Rule:
    """Divide positive scores of used tokens by `penalty`, multiply negative ones (Keskar et al. 2019, CTRL)."""

    def rule(captions: Tensor, scores: Tensor) -> Tensor:
        used = scores.gather(1, captions)
        return scores.scatter(1, captions, torch.where(used < 0, used * penalty, used / penalty))

    return rule


def no_repeated_ngram(size: int) -> Rule:
    """Forbid each token that would complete a run of `size` tokens already in the caption."""

    def rule(captions: Tensor, scores: Tensor) -> Tensor:
        if captions.shape[1] < size:
            return scores
        runs = captions.unfold(1, size, 1)
        begun = captions[:, captions.shape[1] - size + 1 :]
        again = (runs[:, :, :-1] == begun[:, None, :]).all(dim=2)
        row, place = again.nonzero(as_tuple=True)
        scores = scores.clone()
        scores[row, runs[row, place, -1]] = -torch.inf
        return scores

    return rule


def without(tokens: Tensor) -> Rule:
    """Forbid `tokens [S]`."""
    return lambda captions, scores: scores.index_fill(1, tokens, -torch.inf)


def at_least(tokens: int, ends: Tensor) -> Rule:
    """Forbid the end tokens `ends [E]` until the caption has `tokens` tokens."""
    unended = without(ends)
    return lambda captions, scores: unended(captions, scores) if captions.shape[1] < tokens else scores


def temperature(value: float) -> Rule:
    """Divide scores by `value`: above 1 flatter, below 1 sharper."""
    return lambda captions, scores: scores / value


def top_k(count: int, keep: int) -> Rule:
    """Keep the `count` best scores (ties included), at least `keep`."""

    def rule(captions: Tensor, scores: Tensor) -> Tensor:
        kept = min(max(count, keep), scores.shape[1])
        return scores.masked_fill(scores < scores.topk(kept).values[:, -1:], -torch.inf)

    return rule


def top_p(mass: float, keep: int) -> Rule:
    """Keep the fewest tokens that hold `mass` of the probability, at least `keep` (Holtzman et al. 2020)."""

    def rule(captions: Tensor, scores: Tensor) -> Tensor:
        ordered, order = scores.sort(dim=1)
        tail = ordered.softmax(dim=1).cumsum(dim=1) <= 1 - mass
        tail[:, -keep:] = False
        return scores.masked_fill(tail.scatter(1, order, tail), -torch.inf)

    return rule


class Scoring:
    """All rules that `options` ask for, in order.

    Args:
        options: what is asked for.
        ends: `[E]` the end tokens.
        tokenizer: tells words apart.
        suppressed: `[S]` tokens that no caption may have; None for all may.
    """

    def __init__(
        self,
        options: GenerationOptions,
        ends: Tensor,
        tokenizer: TextDecoder | None = None,
        suppressed: Tensor | None = None,
    ) -> None:
        rules: list[Rule] = []
        if options.repetition_penalty != 1.0:
            rules.append(repetition(options.repetition_penalty))
        if options.no_repeat_ngram_size > 0:
            rules.append(no_repeated_ngram(options.no_repeat_ngram_size))
        if options.no_repeated_words:
            rules.append(no_repeated_words(tokenizer))
        if options.min_new_tokens > 0 and len(ends) > 0:
            rules.append(at_least(options.min_new_tokens, ends))
        if suppressed is not None and len(suppressed) > 0:
            rules.append(without(suppressed))
        if options.do_sample:
            # Sampled beams need one candidate more than there are end tokens, or a beam could have no future.
            keep = max(len(ends), 1) + 1 if options.num_beams > 1 else 1
            if options.temperature != 1.0:
                rules.append(temperature(options.temperature))
            if options.top_k > 0:
                rules.append(top_k(options.top_k, keep))
            if options.top_p < 1.0:
                rules.append(top_p(options.top_p, keep))
        self.rules = rules

    def __call__(self, captions: Tensor, scores: Tensor) -> Tensor:
        """Captions so far `[N, t]`, scores `[N, V]` -> scores `[N, V]`."""
        for rule in self.rules:
            scores = rule(captions, scores)
        return scores
