"""Answers of a caption's words in the reader's terms: to plane, modality or organ, or a phrase.

A word that is part of a field's value ("T2-weighted" and "MRI" of "t2-weighted mri") says that value. Another word says
the shortest phrase that the reader knows it by: the word alone, where it is one ("meningioma").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from scripts.concepts.fields import places_of, read_fields
from scripts.concepts.vocabulary import ConceptVocabulary, words_of

PHRASE = "phrase"


@dataclass(frozen=True)
class Said:
    """One of the reader's classes.

    Attributes:
        field: "plane", "modality", "organ", or "phrase" for a concept.
        number: of the answer in ``vocabulary.fields[field]``, or of the concept in ``vocabulary.names``.
    """

    field: str
    number: int


def said_by(words: Sequence[str], vocabulary: ConceptVocabulary, nothing: Sequence[int] = ()) -> list[Said | None]:
    """What each word of a caption says, None where the reader knows nothing of it.

    Args:
        words: as they stand between spaces, punctuation included.
        vocabulary: the reader's.
        nothing: places of words that name nothing visible ("with", "of"); they say nothing, and no phrase begins or
            ends with them.
    """
    found = _by_fields(words, vocabulary)
    skipped = {place for place, said in enumerate(found) if said is not None} | set(nothing)
    concepts = {name: number for number, name in enumerate(vocabulary.names)}
    for place in range(len(words)):
        if place not in skipped:
            number = _shortest_phrase(words, place, skipped, concepts, vocabulary.longest)
            found[place] = None if number is None else Said(PHRASE, number)
    return [None if place in set(nothing) else said for place, said in enumerate(found)]


def _by_fields(words: Sequence[str], vocabulary: ConceptVocabulary) -> list[Said | None]:
    text = " ".join(words)
    spans = [match.span() for match in re.finditer(r"\S+", text)]
    read, found = read_fields(text), [None] * len(words)
    for field, answers in vocabulary.fields.items():
        value = getattr(read, field)
        if value not in answers:
            continue
        for start, end in places_of(field, value, text):
            for place, (first, last) in enumerate(spans):
                if first < end and last > start and found[place] is None:
                    found[place] = Said(field, answers.index(value))
    return found


def _shortest_phrase(
    words: Sequence[str], place: int, skipped: set[int], concepts: dict[str, int], longest: int
) -> int | None:
    """The concept of the fewest words that holds the word at ``place``; of two the one that begins first."""
    for size in range(1, longest + 1):
        for start in range(max(0, place - size + 1), min(place, len(words) - size) + 1):
            if start in skipped or start + size - 1 in skipped:
                continue
            phrase = " ".join(words_of(" ".join(words[start : start + size])))
            if phrase in concepts:
                return concepts[phrase]
    return None
