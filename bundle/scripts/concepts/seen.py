"""Probability that a concept reader gives to a caption's plane, kind and organ, in which kinds count by family.

A right caption has plane, modality *family* and organ of the reference ("MRI" and "T2-weighted MRI" are one family), so
the reader's probabilities are summed over the modalities of a family. It foretells right captions better than the
probability of the very modality that a caption names does (area under ROC .82 instead of .76 on medcap-open's
validation).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import Tensor

from scripts.concepts.fields import CaptionFields, family_of, read_fields
from scripts.concepts.vocabulary import ConceptVocabulary

LEAST = 1e-4  # no answer is impossible


def seen(fields: Mapping[str, Tensor], vocabulary: ConceptVocabulary, captions: Sequence[str]) -> list[float]:
    """``P(plane) * P(family) * P(organ)`` of each caption, each in (0, 1].

    A caption that names no plane, or one that no training caption has, is taken to say that it is none of those the
    reader knows: one minus its likeliest.

    Args:
        fields: log-probabilities ``[B, answers]`` by field.
        vocabulary: whose answers they are of.
        captions: of the B images.
    """
    found = []
    for row, caption in enumerate(captions):
        said = read_fields(caption)
        chances = (_chance(read[row].exp().tolist(), field, vocabulary, said) for field, read in fields.items())
        found.append(math.prod(chances))
    return found


def _chance(chances: Sequence[float], field: str, vocabulary: ConceptVocabulary, said: CaptionFields) -> float:
    if not chances:
        return 1.0
    named = [family_of(name) if field == "modality" else name for name in vocabulary.fields[field]]
    wanted = said.family if field == "modality" else getattr(said, field)
    if wanted not in named:
        return min(1.0, 1 - max(chances) + LEAST)
    return min(1.0, max(LEAST, sum(chance for name, chance in zip(named, chances, strict=True) if name == wanted)))
