"""Answers of the concept reader's vocabulary that agree with what a file states (`stated`); decoding weighs no others.

A network that sees pixels alone takes some MR for CT. So where a file says it, the concept reader weighs only the
answers that agree (:meth:`ConceptReader.guide`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from scripts.concepts.fields import family_of
from scripts.concepts.mentions import weightings_in
from scripts.concepts.stated import Stated
from scripts.concepts.vocabulary import ConceptVocabulary

HeaderAnswers = Mapping[str, Collection[str]]
"""Field ("modality", "plane") to the answers that agree with the file; a field that is absent is open."""

EXCLUDED = -12.0  # log-probability of an answer that contradicts the file: no beam's words make up for it


def header_answers(stated: Stated, vocabulary: ConceptVocabulary) -> HeaderAnswers:
    """The answers of a vocabulary that agree with what a file states; a field that none agrees with is open."""
    found = {}
    if stated.families:
        of_family = [name for name in vocabulary.fields["modality"] if family_of(name) in stated.families]
        found["modality"] = _agreeing(of_family, stated) or of_family
    if stated.planes:
        found["plane"] = [name for name in vocabulary.fields["plane"] if name in stated.planes]
    return {field: answers for field, answers in found.items() if answers}


def _agreeing(names: Sequence[str], stated: Stated) -> list[str]:
    """The answers to modality that say how the image was made; where none says the weighting, those without one."""
    if stated.contrast_agent:
        names = [name for name in names if not name.startswith("non-contrast")]
    if known := stated.weighting:
        said = {name: weightings_in(name) for name in names}
        names = [n for n in names if said[n] == {known}] or [n for n in names if not said[n]]
    return list(names)


def only_agreeing(
    fields: Mapping[str, Tensor], vocabulary: ConceptVocabulary, known: Sequence[Stated]
) -> dict[str, Tensor]:
    """Log-probabilities of answers given what files say: ``p(a) / sum p(agreeing)``, and ``EXCLUDED`` for the others.

    Args:
        fields: ``[B, answers]`` by field.
        known: of each of the B images.
    """
    result = dict(fields)
    agreeing = [header_answers(stated, vocabulary) for stated in known]
    for field, read in fields.items():
        names = vocabulary.fields[field]
        agrees = torch.tensor(
            [[name in says.get(field, names) for name in names] for says in agreeing], dtype=torch.bool
        )
        agrees = agrees.view(read.shape).to(read.device)
        given = read.masked_fill(~agrees, -torch.inf)
        result[field] = (given - given.logsumexp(dim=1, keepdim=True)).masked_fill(~agrees, EXCLUDED)
    return result
