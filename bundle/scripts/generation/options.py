"""Options of generation (`GenerationOptions`) and its result (`Generated`).

Legend: B images, R captions an image, T `max_new_tokens`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from scripts.errors import InputError
from scripts.given_values import switch

Watch = Callable[[Tensor, Tensor], None]
"""Told after each step what is written so far: ``images [N]``, the places in the batch of those that still change, and
``[N, t]``, the tokens of each one's best caption. Beams may yet choose other words. What it raises ends decoding."""


@dataclass(frozen=True)
class GenerationOptions:
    """How captions are decoded. Lengths count new tokens only; the prefix never counts.

    The meaning of every value that `transformers.GenerationConfig` also has is the same as there.

    Attributes:
        max_new_tokens: a caption ends here at the latest, the end token included.
        min_new_tokens: the end token is impossible before this many tokens.
        num_beams: 1 is greedy or sampling; more is beam search.
        length_penalty: beam scores are divided by `length ** length_penalty`; more than 0 favours long captions.
        repetition_penalty: more than 1 makes tokens that the caption already has less likely.
        no_repeat_ngram_size: no run of this many tokens comes twice in a caption; 0 is off.
        no_repeated_words: no words are said twice in a row, marks between left out; needs a tokenizer.
        do_sample: draw tokens instead of taking the likeliest.
        temperature, top_k, top_p: shape of the distribution drawn from; `top_k` 0 and `top_p` 1 are off.
        num_return: captions an image (R); at most `num_beams` unless sampling.
        num_beam_groups, diversity_penalty: diverse beams (Vijayakumar et al. 2016, arXiv 1610.02424): beams are split
            into groups, and a token that earlier groups chose at this step costs `diversity_penalty` a time.
        early_stopping: `True` stops an image at `num_beams` finished captions, `False` when a running beam is unlikely
            to win at its present length, `"never"` only when none can win any more.
        stop_strings: a caption ends with the token that completes one of these; needs a tokenizer.
        seed: sampling with a seed gives an image the same captions whatever else is in its batch; without one the
            global random state is used, in the order that transformers uses it.
    """

    max_new_tokens: int = 40
    min_new_tokens: int = 0
    num_beams: int = 1
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    no_repeated_words: bool = False
    do_sample: bool = False
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    num_return: int = 1
    num_beam_groups: int = 1
    diversity_penalty: float = 0.0
    early_stopping: bool | Literal["never"] = False
    stop_strings: tuple[str, ...] = ()
    seed: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.stop_strings, str):
            object.__setattr__(self, "stop_strings", (self.stop_strings,))
        object.__setattr__(self, "stop_strings", tuple(self.stop_strings))
        for name in ("do_sample", "no_repeated_words", "early_stopping"):
            object.__setattr__(self, name, switch(getattr(self, name)))
        for holds, sentence in self._rules():
            if not holds:
                raise InputError(f"Generation options do not fit together: {sentence}.")

    def _rules(self) -> list[tuple[bool, str]]:
        drawn = max(self.num_beams, 1)
        return [
            (self.max_new_tokens >= 1, f"max_new_tokens is {self.max_new_tokens}; give 1 or more"),
            (
                0 <= self.min_new_tokens <= self.max_new_tokens,
                f"min_new_tokens is {self.min_new_tokens}; give 0 to max_new_tokens ({self.max_new_tokens})",
            ),
            (self.num_beams >= 1, f"num_beams is {self.num_beams}; give 1 or more"),
            (self.num_return >= 1, f"num_return is {self.num_return}; give 1 or more"),
            (
                self.num_return <= drawn or (self.do_sample and self.num_beams == 1),
                f"num_return is {self.num_return} with num_beams {self.num_beams}; raise num_beams or set do_sample",
            ),
            (self.repetition_penalty > 0, f"repetition_penalty is {self.repetition_penalty}; give more than 0"),
            (self.no_repeat_ngram_size >= 0, f"no_repeat_ngram_size is {self.no_repeat_ngram_size}; give 0 or more"),
            (self.temperature > 0, f"temperature is {self.temperature}; give more than 0 (greedy: do_sample false)"),
            (self.top_k >= 0, f"top_k is {self.top_k}; give 0 (off) or more"),
            (0 < self.top_p <= 1, f"top_p is {self.top_p}; give more than 0 and at most 1 (off)"),
            (
                self.num_beam_groups >= 1 and self.num_beams % self.num_beam_groups == 0,
                f"num_beams {self.num_beams} cannot be split into {self.num_beam_groups} groups of one size",
            ),
            (
                self.num_beam_groups == 1 or not self.do_sample,
                "num_beam_groups above 1 cannot be sampled; set do_sample false",
            ),
            (self.diversity_penalty >= 0, f"diversity_penalty is {self.diversity_penalty}; give 0 or more"),
            (
                self.diversity_penalty == 0 or self.num_beam_groups > 1,
                "diversity_penalty needs num_beam_groups of 2 or more",
            ),
            (
                self.early_stopping in (True, False, "never"),
                f'early_stopping is {self.early_stopping!r}; give true, false or "never"',
            ),
            (all(self.stop_strings), "a stop string is empty"),
            (isinstance(self.do_sample, bool), f"do_sample is {self.do_sample!r}; give true or false"),
            (
                isinstance(self.no_repeated_words, bool),
                f"no_repeated_words is {self.no_repeated_words!r}; give true or false",
            ),
        ]


@dataclass
class Generated:
    """Captions as token ids; the R captions of image b are rows `b * R` to `b * R + R - 1`, best first.

    Attributes:
        token_ids: `[B*R, T]` int64, new tokens only, the end token kept, then the pad token.
        token_logprobs: `[B*R, T]` float32: log-probability (natural) of each token under the model's own distribution,
            before any penalty, temperature or cut; 0 at padding.
        lengths: `[B*R]` int64, number of new tokens, the end token included.
        sequence_scores: `[B*R]` float32: what beams are ranked by (length-penalised sum of processed
            log-probabilities); without beams, the mean of `token_logprobs`.
        composed: `[B*R]` bool: captions that were not decoded but put in place of contradicting ones; None for none.
    """

    token_ids: Tensor
    token_logprobs: Tensor
    lengths: Tensor
    sequence_scores: Tensor
    composed: Tensor | None = None


@dataclass
class Step:
    """One step of `Generator.stream`.

    Attributes:
        tokens: `[B*R]` int64, the token each caption got; the pad token where the caption had already ended.
        logprobs: `[B*R]` float32, as in `Generated.token_logprobs`.
        live: `[B*R]` bool, whether the caption had not ended before this step (its token counts).
        ended: `[B*R]` bool, whether the caption has ended, with this token or before.
    """

    tokens: Tensor
    logprobs: Tensor
    live: Tensor
    ended: Tensor


def mean_logprobs(token_logprobs: Tensor, lengths: Tensor) -> Tensor:
    """Mean log-probability a token: `[N, T]`, `[N]` -> `[N]`."""
    return token_logprobs.sum(dim=1) / lengths.clamp(min=1).to(torch.float32)
