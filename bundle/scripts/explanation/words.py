"""Token ids as the words that a reader sees, whatever the tokenizer (byte pairs, SentencePiece, whole words)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

_FUNCTION_WORDS = re.compile(
    r"an?|and|are|as|at|be|by|for|from|ha(?:s|ve)|in|into|is|its?|not?|of|on|or|show(?:s|n|ing)|that|the|their|th[eo]se|"
    r"there|this|to|was|were|which|with(?:in|out)?"
)
"""Words that name nothing visible. They have no map, no region, and are counted in no study of maps."""


class Tokenizer(Protocol):
    """What is needed of a ``transformers`` tokenizer."""

    all_special_ids: list[int]

    def decode(self, token_ids: list[int], **options: bool) -> str:
        """The text of token ids."""


@dataclass(frozen=True)
class Word:
    """A word of a caption.

    Attributes:
        text: as it stands between spaces, with the punctuation that hangs on it.
        tokens: positions in the caption of the tokens that spell it, those of mere punctuation left out where others
            remain: a full stop is no part of what a word rests on.
    """

    text: str
    tokens: tuple[int, ...]


def plain_word(word: str) -> str:
    """Without the punctuation around it."""
    return re.sub(r"^[^\w]+|[^\w]+$", "", word)


def content_words(words: Sequence[str]) -> list[int]:
    """Places of words that say something: no articles, prepositions, "showing", or bare punctuation."""
    plain = [plain_word(word).lower() for word in words]
    return [index for index, word in enumerate(plain) if word and not _FUNCTION_WORDS.fullmatch(word)]


def words_of(tokenizer: Tokenizer, token_ids: Sequence[int]) -> list[Word]:
    """Words of the caption ``token_ids``; special tokens belong to none.

    The caption is decoded token by token, so that a token's place in the text is known even where one character takes
    several tokens or a tokenizer writes spaces at the start of a token, at its end or as tokens of their own.
    """
    special = set(tokenizer.all_special_ids)
    ids, spans, end = [], [], 0
    text = ""
    for position, token in enumerate(token_ids):
        if int(token) in special:
            continue
        ids.append(int(token))
        text = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        spans.append((position, end, max(end, len(text))))
        end = max(end, len(text))
    found = []
    for match in re.finditer(r"\S+", text):
        tokens = [place for place in spans if _first_letter(text, place) in range(*match.span())]
        spelled = [place for place in tokens if re.search(r"\w", text[place[1] : place[2]])]
        found.append(Word(match.group(), tuple(position for position, _, _ in spelled or tokens)))
    return found


def _first_letter(text: str, place: tuple[int, int, int]) -> int:
    """Index of a token's first character that is no space; its start where it adds no character of its own."""
    _, start, end = place
    piece = text[start:end]
    if not piece:  # a later byte of a character that an earlier token began
        return start - 1
    blank = len(piece) - len(piece.lstrip())
    return start + blank if blank < len(piece) else -1
