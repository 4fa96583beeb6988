"""Candidates for the finding of an image, what speaks for each, and how probable each is.

Candidates come from the captions that decoding weighed last (its beams) and from training cases nearby
(`concepts.similar_cases`). A finding is right when it is the reference's, read as metrics read it. What speaks for one:

* ``written``: 1 for the finding of the caption that won;
* ``near``: `similar_cases.closeness` of the nearest case that has it. A case of another kind or organ than the
  caption's does not count;
* ``cases``: share of the nearest cases that have it, weighed by how near they are;
* ``beams``: share of the beams that say it; it chooses candidates, and no more (as evidence it told nothing beside
  ``written`` on validation).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scripts.concepts.fields import family_of, read_fields, split_finding
from scripts.concepts.similar_cases import SimilarCase, closeness
from scripts.confidence.evidence import nearness, summed
from scripts.confidence.logistic import probability

FINDING_FEATURES = ("written", "near", "cases")
KEPT = 5


@dataclass(frozen=True)
class Candidate:
    """A finding that the caption may state.

    Attributes:
        finding: in the form in which two are compared.
        evidence: what speaks for it: `FINDING_FEATURES` and ``beams``.
        probability: that it is the right one; None without a calibration.
        stated: whether the caption states it.
    """

    finding: str
    evidence: Mapping[str, float]
    probability: float | None = None
    stated: bool = False

    def told(self) -> dict[str, Any]:
        """As a record holds it."""
        chance = None if self.probability is None else round(self.probability, 4)
        evidence = {name: round(value, 4) for name, value in self.evidence.items()}
        return {"finding": self.finding, "probability": chance, "stated": self.stated, "evidence": evidence}


@dataclass(frozen=True)
class Fitted:
    """A logistic fit: ``sigmoid(sum_f weights[f] * x[f] + offset)``."""

    weights: Mapping[str, float]
    offset: float

    def probability(self, evidence: Mapping[str, float]) -> float:
        """Of one case."""
        row = np.array([[evidence[name] for name in self.weights]], float)
        return float(probability(row, np.array([*self.weights.values(), self.offset]))[0])


@dataclass(frozen=True)
class FittedFindings(Fitted):
    """The fit of findings.

    Attributes:
        threshold: the least probability from which findings are stated; None where none made stated ones right half of
            the time.
    """

    threshold: float | None = None


def candidates(
    caption: str, beams: Mapping[str, float], cases: Sequence[SimilarCase], keep: int = KEPT
) -> list[Candidate]:
    """Up to ``keep`` findings, those first that most speaks for; the written one is always among them.

    Args:
        caption: as the network wrote it.
        beams: finding -> share of the beams.
        cases: training cases nearby, nearest first.
    """
    written, view = split_finding(caption)[1], read_fields(caption)
    nearest: dict[str, float] = {}
    for case in cases:
        if case.finding:
            alike = family_of(case.modality) == view.family and case.organ == view.organ
            nearest.setdefault(case.finding, case.distance if alike else 1.0)
    votes = summed((case.finding, nearness(case)) for case in cases)
    total = sum(nearness(case) for case in cases) or 1.0
    found = []
    for finding in dict.fromkeys([*([written] if written else []), *beams, *nearest]):
        near = closeness(nearest.get(finding, 1.0))
        known = {"written": float(finding == written), "near": near, "cases": votes.get(finding, 0.0) / total}
        found.append(Candidate(finding, {**known, "beams": beams.get(finding, 0.0)}))
    found.sort(key=lambda one: -(one.evidence["written"] + one.evidence["beams"] + one.evidence["cases"]))
    return found[:keep]
