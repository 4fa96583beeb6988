"""Repeats refused: no words twice in a row ("pelvis, pelvis"), the mark of a stuck decoder.

`no_repeat_ngram_size` forbids a run of tokens anywhere in a caption, which also takes away what may well come twice
("left kidney ... left ureter"). This rule forbids only what repeats at once, commas and other marks between left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from scripts.errors import InputError
from scripts.generation.stopping import TextDecoder

LONGEST = 16
"""Tokens of the longest run looked for: four words of a few tokens each."""


def no_repeated_words(tokenizer: TextDecoder | None) -> Callable[[Tensor, Tensor], Tensor]:
    """Forbid each token that would complete the repetition of the words just said.

    Captions so far `[N, t]` and scores `[N, V]` -> scores `[N, V]`. A repetition begins at the beginning of a word, so
    that the digits of "T11" or the syllables of "murmur" are no repetition.

    Raises:
        InputError: there is no tokenizer to tell words by.
    """
    if tokenizer is None:
        raise InputError("no_repeated_words needs a tokenizer; give one to Generator(tokenizer=...) or set it false.")
    pieces = _Pieces(tokenizer)

    def rule(captions: Tensor, scores: Tensor) -> Tensor:
        found = [
            (row, token) for row, caption in enumerate(captions.tolist()) for token in _completions(caption, pieces)
        ]
        if not found:
            return scores
        rows, tokens = zip(*found, strict=True)
        scores = scores.clone()
        scores[list(rows), list(tokens)] = -torch.inf
        return scores

    return rule


def _completions(caption: Sequence[int], pieces: _Pieces) -> set[int]:
    """Tokens that would make the end of a caption a run of tokens said twice."""
    heard = [token for token in caption if pieces.has_letters(token)]
    found = set()
    for size in range(1, min(LONGEST, (len(heard) + 1) // 2) + 1):
        start = len(heard) - (2 * size - 1)
        said, again = heard[start : start + size], heard[start + size :]
        if said[:-1] == again and pieces.begins_word(said[0]):
            found.add(said[-1])
    return found


class _Pieces:
    """What tokens are in text: whether they hold a letter or digit, and whether they begin a word."""

    def __init__(self, tokenizer: TextDecoder) -> None:
        self._tokenizer = tokenizer
        self._known: dict[int, tuple[bool, bool]] = {}

    def has_letters(self, token: int) -> bool:
        return self._look(token)[0]

    def begins_word(self, token: int) -> bool:
        return self._look(token)[1]

    def _look(self, token: int) -> tuple[bool, bool]:
        if token not in self._known:
            once, twice = self._tokenizer.decode([token]), self._tokenizer.decode([token, token])
            # Some tokenizers drop the space before the first word, so the second says whether there is one.
            spaced = twice[len(once) :][:1].isspace()
            self._known[token] = any(letter.isalnum() for letter in once), spaced
        return self._known[token]
