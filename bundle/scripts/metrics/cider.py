"""CIDEr-D (Vedantam et al., CVPR 2015) over tokens: clipped tf-idf similarity of n-grams with a length penalty, x 10.

What `pycocoevalcap` calls CIDEr is CIDEr-D. Document frequencies come from the references of the corpus itself, so
the number depends on the other images, and a corpus of one image (or of equal captions) scores 0.
Intervals resample images with the document frequencies held fixed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from scripts.metrics.bleu import ORDERS, ngram_counts
from scripts.metrics.statistic import Statistic, mean_statistic

SIGMA = 6.0

Tokens = Sequence[str]
_Vector = list[dict[tuple[str, ...], float]]


def document_frequency(references: Sequence[Sequence[Tokens]]) -> Counter[tuple[str, ...]]:
    """In how many images an n-gram occurs in at least one reference."""
    frequency: Counter[tuple[str, ...]] = Counter()
    for group in references:
        frequency.update({ngram for reference in group for ngram in ngram_counts(reference)})
    return frequency


def _vector(tokens: Tokens, frequency: Mapping[tuple[str, ...], int], log_images: float) -> tuple[_Vector, list[float]]:
    """tf-idf weights of one caption, a dictionary for each n, and their norms."""
    weights: _Vector = [{} for _ in range(ORDERS)]
    for ngram, count in ngram_counts(tokens).items():
        idf = log_images - math.log(max(1.0, frequency.get(ngram, 0)))
        weights[len(ngram) - 1][ngram] = count * idf
    return weights, [math.sqrt(sum(w * w for w in part.values())) for part in weights]


def cider_d(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]], sigma: float = SIGMA) -> Statistic:
    """Mean CIDEr-D of N candidates, each against its own references (0 to 10 an image)."""
    frequency = document_frequency(references)
    log_images = math.log(len(references)) if references else 0.0
    scores = []
    for candidate, group in zip(candidates, references, strict=True):
        mine = _vector(candidate, frequency, log_images)
        total = 0.0
        for reference in group:
            theirs = _vector(reference, frequency, log_images)
            # the official code measures length in bigrams, one less than the number of words
            gap = max(0, len(candidate) - 1) - max(0, len(reference) - 1)
            total += _similarity(mine, theirs) * math.exp(-(gap**2) / (2 * sigma**2))
        scores.append(10.0 * total / len(group))
    return mean_statistic("CIDEr-D", np.array(scores), f"sigma {sigma:g}, x10, corpus document frequencies")


def _similarity(mine: tuple[_Vector, list[float]], theirs: tuple[_Vector, list[float]]) -> float:
    total = 0.0
    for part, other, norm, other_norm in zip(mine[0], theirs[0], mine[1], theirs[1], strict=True):
        if norm and other_norm:
            dot = sum(min(weight, other.get(ngram, 0.0)) * other.get(ngram, 0.0) for ngram, weight in part.items())
            total += dot / (norm * other_norm)
    return total / ORDERS
