"""Evidence on a caption besides its words, from which both of its doubts are computed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scripts.concepts.fields import family_of, read_fields, split_finding
from scripts.concepts.similar_cases import SimilarCase

KIND_FEATURES = ("seen", "similar_agreement", "support", "confidence")
SHARPNESS = 10.0  # of the scores by which beams are ranked, sums that are divided by a caption's length
SPREAD = 0.1  # distance at which a similar case counts 1/e


@dataclass(frozen=True)
class Evidence:
    """What captioning knows of one image.

    Attributes:
        beams: captions that decoding weighed last, the one that won first.
        scores: of each, what they are ranked by.
        cases: training cases nearby, nearest first; none without an index.
        seen: probability that the concept reader gives to plane, family and organ of the caption; None without one.
    """

    beams: Sequence[str]
    scores: Sequence[float]
    cases: Sequence[SimilarCase] = ()
    seen: float | None = None

    def finding_shares(self) -> dict[str, float]:
        """Finding -> share of the beams that say it, weighed by ``softmax(SHARPNESS * score)``; the rest say none."""
        raw = np.exp(SHARPNESS * (np.array(self.scores, float) - max(self.scores)))
        return summed((split_finding(text)[1], share) for text, share in zip(self.beams, raw / raw.sum(), strict=True))


def kind_evidence(record: Mapping[str, Any]) -> dict[str, float]:
    """What a record has of `KIND_FEATURES`.

    * ``seen``: see :class:`Evidence`; ``similar_agreement``: see :func:`similar_agreement`;
    * ``support``: log-probability of the caption's plane, very modality and organ under the concept reader;
    * ``confidence``: mean log-probability of the caption's tokens under the language model.
    """
    found = {name: record[name] for name in ("seen", "similar_agreement") if record.get(name) is not None}
    if record.get("support") is not None:
        found["support"] = math.log(max(record["support"], 1e-6))
    if logprobs := record.get("token_logprobs"):
        found["confidence"] = sum(logprobs) / len(logprobs)
    return found


def similar_agreement(caption: str, cases: Sequence[SimilarCase]) -> float | None:
    """Share of plane, family and organ in which similar cases agree with a caption, the nearest counting most."""
    if not cases:
        return None
    said = read_fields(caption)
    agree = [
        ((case.plane == said.plane) + (family_of(case.modality) == said.family) + (case.organ == said.organ)) / 3
        for case in cases
    ]
    return float(np.average(agree, weights=[nearness(case) for case in cases]))


def nearness(case: SimilarCase) -> float:
    """``exp(-d / SPREAD)``, never 0."""
    return max(math.exp(-case.distance / SPREAD), 1e-12)


def summed(pairs: Iterable[tuple[str | None, float]]) -> dict[str, float]:
    """Sum of the weights of each name."""
    sums: dict[str, float] = {}
    for name, weight in pairs:
        if name:
            sums[name] = sums.get(name, 0.0) + float(weight)
    return sums
