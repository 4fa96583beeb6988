"""One door to all clinical scores: what each is valid for is checked before it sees a caption.

A score made from chest films says nothing of a brain MR: it would find no finding in either caption and call that
agreement. So a score names the images it is valid for, is given those only, says how many they were, and is refused
where there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from scripts.concepts.fields import family_of, true_fields
from scripts.metrics.pairs import Pairs
from scripts.metrics.statistic import Statistic

_FILMS = {"XR", "CR", "DX", "X-RAY", "XRAY", "CXR"}
_CHEST = ("chest", "thorax", "lung")


class ClinicalScore(Protocol):
    """A clinical score.

    Attributes:
        name: on the command line.
        valid_for: the images it is made for, in words.
    """

    name: str
    valid_for: str

    def why_not(self) -> str | None:
        """One sentence saying what is missing to compute it here; None where nothing is."""

    def applies(self, pairs: Pairs, number: int) -> bool:
        """Whether it is valid for this image."""

    def score(self, predictions: Sequence[str], references: Sequence[str]) -> list[Statistic]:
        """Its statistics over N captions."""


CLINICAL: dict[str, ClinicalScore] = {}
"""Name to score; `register` adds one."""


def register(score: ClinicalScore) -> None:
    """Make a score known by its name."""
    CLINICAL[score.name] = score


def clinical_scores(names: Sequence[str], pairs: Pairs) -> tuple[list[Statistic], dict[str, str]]:
    """Statistics of the named scores over all images (those that a score is not valid for count nothing), and reasons.

    Returns:
        Statistics with N rows each, and score name to why it is refused.
    """
    statistics: list[Statistic] = []
    refused: dict[str, str] = {}
    for name in names:
        score = CLINICAL[name]
        valid = [number for number in range(len(pairs.images)) if score.applies(pairs, number)]
        if reason := score.why_not():
            refused[name] = reason
        elif not valid:
            refused[name] = f"it is valid for {score.valid_for} only, and none of the {len(pairs.images)} images is one"
        else:
            predictions = [pairs.predictions[number] for number in valid]
            references = [pairs.first_references[number] for number in valid]
            for statistic in score.score(predictions, references):
                note = f"{statistic.note}; {score.valid_for}, {len(valid)} of {len(pairs.images)} images"
                statistics.append(replace(_spread(statistic, valid, len(pairs.images)), note=note))
    return statistics, refused


def _spread(statistic: Statistic, places: Sequence[int], count: int) -> Statistic:
    """A statistic of some images as one of all: the others add nothing."""
    import numpy as np

    rows = np.zeros((count, statistic.rows.shape[1]))
    rows[list(places)] = statistic.rows
    return replace(statistic, rows=rows)


class OfChestFilms:
    """Base of scores that are made for radiographs of the chest, as the datalist or the reference caption says."""

    valid_for = "chest radiographs"

    def applies(self, pairs: Pairs, number: int) -> bool:
        """See :class:`ClinicalScore`."""
        return _is_chest_film(pairs, number)


def _is_chest_film(pairs: Pairs, number: int) -> bool:
    fields = true_fields(pairs.first_references[number], pairs.fields[number])
    modality = (pairs.modalities[number] or "").upper()
    film = modality in _FILMS if modality else (fields.family or family_of(fields.modality)) == "XR"
    part = pairs.parts[number] if pairs.parts else None
    where = part or fields.organ or ""
    return film and any(word in where.lower() for word in _CHEST)
