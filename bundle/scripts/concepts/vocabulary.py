"""Concepts: the words and short phrases of captions, and the answers that captions give to plane, modality and organ.

What an item does not know is not learned: a phrase that speaks of its finding, and that its caption does not have, is
no wrong phrase where the finding is not known.

Shape legend: K concepts, F fields.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from scripts.concepts.fields import FIELDS, CaptionFields, before_finding, known_fields, read_fields
from scripts.concepts.wording import in_mould
from scripts.errors import InputError

CLOSED_FIELDS = FIELDS[:3]
"""Plane, modality and organ: their answers are the few that training captions have."""
UNKNOWN = -100  # what PyTorch's cross entropy leaves out

_NEGATION = re.compile(r"\b(?:no|not|without)\b", re.IGNORECASE)
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
        shares: ``[K]``, of the training captions that could hold each, those that do.
        fields: answers by field, as :func:`scripts.concepts.fields.read_fields` gives them.
        longest: words in a phrase.
        about: ``[K, 4]`` bool, which of ``FIELDS`` each speaks of; needed for :meth:`targets` of items only.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        shares: Tensor,
        fields: Mapping[str, Sequence[str]],
        longest: int,
        about: Tensor | None = None,
    ) -> None:
        self.names = list(names)
        self.shares = shares
        self.fields = {field: list(fields.get(field, ())) for field in CLOSED_FIELDS}
        self.longest = longest
        self.about = torch.zeros(len(self.names), len(FIELDS), dtype=torch.bool) if about is None else about
        self._index = {name: number for number, name in enumerate(self.names)}
        self._beginnings = {field: _beginnings(names) for field, names in self.fields.items()}

    @classmethod
    def from_captions(
        cls,
        captions: Sequence[str],
        fields: Sequence[Mapping[str, str | None] | None] | None = None,
        *,
        min_count: int = 10,
        max_share: float = 0.95,
        longest: int = 4,
    ) -> ConceptVocabulary:
        """Phrases that are frequent in the training captions, and no two that always occur together.

        Args:
            captions: of the training cases.
            fields: of the training cases, as far as they are known; None reads captions.
            min_count: captions that must hold a phrase; where they are few, one in a hundred of them is enough.
            max_share: a phrase in more than this share of the captions says nothing ("showing").
            longest: words in a phrase.

        Raises:
            InputError: no phrase is left.
        """
        holders: dict[str, list[int]] = {}
        captions = [in_mould(caption) for caption in captions]
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
        given = fields if fields is not None else [None] * len(captions)
        known = [known_fields(caption, stated) for caption, stated in zip(captions, given, strict=True)]
        about = _subjects(names, captions, holders, longest)
        could = torch.stack([_unknown(item) for item in known]).logical_not()  # [captions, 4]
        held = torch.tensor([len(holders[name]) for name in names])
        could_hold = torch.tensor(
            [int(could[:, row].all(dim=1).sum()) if row.any() else len(captions) for row in about]
        )
        return cls(
            names,
            shares=(held / torch.maximum(could_hold, held)).clamp(max=max_share),
            fields={
                field: sorted({value for item in known if (value := getattr(item, field)) is not None})
                for field in CLOSED_FIELDS
            },
            longest=longest,
            about=about,
        )

    def __len__(self) -> int:
        return len(self.names)

    def targets(self, caption: str) -> Tensor:
        """``[K]`` float: 1 where the caption, in whatever template, holds the concept."""
        held = phrases(in_mould(caption), self.longest)
        present = [self._index[phrase] for phrase in held if phrase in self._index]
        targets = torch.zeros(len(self))
        targets[present] = 1.0
        return targets

    def known_targets(self, caption: str, fields: Mapping[str, str | None] | None = None) -> Tensor:
        """As :meth:`targets`, with ``UNKNOWN`` where the item does not say whether the concept is there.

        That is so for a concept that speaks of a field which is not known, unless the caption states it outside of a
        sentence that denies something ("No effusion is seen.").

        Args:
            caption: of the item.
            fields: its fields, as far as they are known; None reads the caption.
        """
        unknown = _unknown(known_fields(caption, fields))
        caption = in_mould(caption)
        targets = self.targets(caption)
        if unknown.any():
            stated = " / ".join(part for part in caption.split(". ") if not _NEGATION.search(part))
            undecided = (self.about & unknown).any(dim=1) & (self.targets(stated) == 0)
            targets[undecided] = float(UNKNOWN)
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

    def field_targets(self, caption: str, fields: Mapping[str, str | None] | None = None) -> Tensor:
        """``[F]`` int64: the number of the plane, modality and organ that are known, ``UNKNOWN`` for none.

        Args:
            caption: of the item.
            fields: its fields, as far as they are known; None reads the caption.
        """
        read = known_fields(caption, fields)
        values = [(names, getattr(read, field)) for field, names in self.fields.items()]
        return torch.tensor([names.index(value) if value in names else UNKNOWN for names, value in values])


def _unknown(known: CaptionFields) -> Tensor:
    """``[4]`` bool: which of ``FIELDS`` an item does not know."""
    return torch.tensor([getattr(known, name) is None for name in FIELDS])


def _subjects(
    names: Sequence[str], captions: Sequence[str], holders: Mapping[str, Sequence[int]], longest: int
) -> Tensor:
    """``[K, 4]`` bool: which of ``FIELDS`` each phrase speaks of.

    A phrase speaks of the finding where most captions that hold it come to it with their finding or after; else of the
    plane, modality and organ that it names. One that names none, "t1-weighted" or "contents", speaks of what the part
    of the captions is about that it stands in: modality before "of the", organ after it, both where it spans them.
    """
    openings = [before_finding(caption).partition(". ")[0] for caption in captions]
    views = [opening.partition(" of the ")[0] for opening in openings]
    regions = [opening.partition(" of the ")[2] for opening in openings]
    parts = [[phrases(text, longest) for text in texts] for texts in (openings, views, regions)]
    rows = []
    for name in names:
        early, view, region = (sum(name in part[number] for number in holders[name]) for part in parts)
        if 2 * early < len(holders[name]):
            rows.append([False, False, False, True])
            continue
        read = read_fields(name)
        said = [getattr(read, field) is not None for field in CLOSED_FIELDS]
        rows.append([*(said if any(said) else (False, 2 * region <= early, 2 * view <= early)), False])
    return torch.tensor(rows)


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
