"""Concepts: the words and short phrases of captions, and the answers that captions give to plane, modality and organ.

Shape legend: K concepts, F fields.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from scripts.concepts.fields import read_fields
from scripts.errors import InputError

FIELDS = ("plane", "modality", "organ")
UNKNOWN = -100  # what PyTorch's cross entropy leaves out

_WORD = re.compile(r"[a-z0-9*]+(?:[-'][a-z0-9*]+)*")


def words_of(caption: str) -> list[str]:
    """Its words in lower case, punctuation left out."""
    return _WORD.findall(caption.lower())


def whole_words(text: str) -> str:
    """A begun caption without its last word, which may go on."""
    return text[: len(text) - len(text.split(" ")[-1])]


def phrases(caption: str, longest: int) -> set[str]:
    """All runs of 1 to ``longest`` words of a caption, lower case, punctuation left out."""
    words = words_of(caption)
    return {
        " ".join(words[start : start + size])
        for size in range(1, longest + 1)
        for start in range(len(words) - size + 1)
    }


class ConceptVocabulary:
    """The phrases worth predicting, and beside them the exclusive answers to plane, modality and organ.

    Args:
        names: of the K concepts.
        shares: ``[K]``, of the training captions that hold each.
        fields: answers by field, as :func:`scripts.concepts.fields.read_fields` gives them.
        longest: words in a phrase.
    """

    def __init__(
        self, names: Sequence[str], *, shares: Tensor, fields: Mapping[str, Sequence[str]], longest: int
    ) -> None:
        self.names = list(names)
        self.shares = shares
        self.fields = {field: list(fields.get(field, ())) for field in FIELDS}
        self.longest = longest
        self._index = {name: number for number, name in enumerate(self.names)}
        self._beginnings = {field: _beginnings(names) for field, names in self.fields.items()}

    @classmethod
    def from_captions(
        cls, captions: Sequence[str], *, min_count: int = 10, max_share: float = 0.95, longest: int = 4
    ) -> ConceptVocabulary:
        """Phrases that are frequent in the training captions, and no two that always occur together.

        Args:
            captions: of the training cases.
            min_count: captions that must hold a phrase; where they are few, one in a hundred of them is enough.
            max_share: a phrase in more than this share of the captions says nothing ("showing").
            longest: words in a phrase.

        Raises:
            InputError: no phrase is left.
        """
        holders: dict[str, list[int]] = {}
        for number, caption in enumerate(captions):
            for phrase in phrases(caption, longest):
                holders.setdefault(phrase, []).append(number)
        least = min(min_count, max(1, len(captions) // 100))
        frequent = [p for p, found in holders.items() if least <= len(found) <= max_share * len(captions)]
        by_captions: dict[tuple[int, ...], str] = {}
        for phrase in sorted(frequent, key=lambda p: (len(p.split()), p)):
            by_captions.setdefault(tuple(holders[phrase]), phrase)  # the shortest of those that always go together
        if not by_captions:
            raise InputError(
                f"no phrase of the {len(captions)} captions is in at least {least} of them and not in nearly all: "
                "captions that differ are needed to tune an encoder"
            )
        names = sorted(by_captions.values())
        read = [read_fields(caption) for caption in captions]
        return cls(
            names,
            shares=torch.tensor([len(holders[name]) / len(captions) for name in names]),
            fields={
                field: sorted({value for fields in read if (value := getattr(fields, field)) is not None})
                for field in FIELDS
            },
            longest=longest,
        )

    def __len__(self) -> int:
        return len(self.names)

    def targets(self, caption: str) -> Tensor:
        """``[K]`` float: 1 where the caption holds the concept."""
        present = [self._index[phrase] for phrase in phrases(caption, self.longest) if phrase in self._index]
        targets = torch.zeros(len(self))
        targets[present] = 1.0
        return targets

    def begun(self, text: str) -> tuple[list[int], list[set[int] | None]]:
        """What an unfinished caption has said already: ``(concepts, answers)``.

        Its last word may go on ("spin"), so concepts are those of the words before it. For each field, the answers
        that the finished caption may give: the one that was read, and those whose beginning the text ends with ("CT
        with" may become "CT with IV contrast"); None while nothing was read, for then all are open. An answer that is
        no training caption's gives an empty set.
        """
        text = text.lower()
        words = whole_words(text)
        said = [self._index[phrase] for phrase in phrases(words, self.longest) if phrase in self._index]
        read, ends = read_fields(words), _ends(text)
        answers: list[set[int] | None] = []
        for field, names in self.fields.items():
            value = getattr(read, field)
            if value is None:
                answers.append(None)
                continue
            possible = {names.index(value)} if value in names else set()
            answers.append(possible.union(*(self._beginnings[field].get(end, ()) for end in ends)))
        return said, answers

    def field_targets(self, caption: str) -> Tensor:
        """``[F]`` int64: the number of the plane, modality and organ that the caption names, ``UNKNOWN`` for none."""
        read = read_fields(caption)
        values = [(names, getattr(read, field)) for field, names in self.fields.items()]
        return torch.tensor([names.index(value) if value in names else UNKNOWN for names, value in values])


def _beginnings(names: Sequence[str]) -> dict[str, set[int]]:
    """The names, by number, that go on from each text of at least their first word and a space."""
    found: dict[str, set[int]] = {}
    for number, name in enumerate(names):
        for size in range(name.find(" ") + 1 or len(name), len(name)):
            found.setdefault(name[:size], set()).add(number)
    return found


def _ends(text: str) -> list[str]:
    """The text and what follows each of its spaces."""
    return [text, *(text[place + 1 :] for place, letter in enumerate(text) if letter == " ")]
