"""ROUGE-L and ROUGE-1 (Lin, 2004) over tokens, the mean over images.

* ROUGE-L as COCO scores it: recall weighted by beta = 1.2, best precision and best recall over the references. The
  `rouge-score` package reports the plain F1 instead; `beta=1.0` gives that.
* ROUGE-1 as ImageCLEF scores it: F1 of word counts, no stemmer, best over the references.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from scripts.metrics.statistic import Statistic, mean_statistic

Tokens = Sequence[str]


def common_subsequence(left: Tokens, right: Tokens) -> int:
    """Length of the longest common subsequence of two token lists."""
    row = [0] * (len(right) + 1)
    for token in left:
        diagonal = 0
        for j, other in enumerate(right, start=1):
            above = row[j]
            row[j] = diagonal + 1 if token == other else max(above, row[j - 1])
            diagonal = above
    return row[-1]


def _f_measure(precision: float, recall: float, beta: float) -> float:
    if precision == 0 or recall == 0:
        return 0.0
    return (1 + beta**2) * precision * recall / (recall + beta**2 * precision)


def rouge_l_score(candidate: Tokens, references: Sequence[Tokens], beta: float = 1.2) -> float:
    """ROUGE-L of one image, 0 to 1; 0 for an empty candidate."""
    if not candidate:
        return 0.0
    lengths = [(common_subsequence(candidate, reference), len(reference)) for reference in references if reference]
    if not lengths:
        return 0.0
    precision = max(shared for shared, _ in lengths) / len(candidate)
    recall = max(shared / length for shared, length in lengths)
    return _f_measure(precision, recall, beta)


def rouge_1_score(candidate: Tokens, references: Sequence[Tokens]) -> float:
    """ROUGE-1 F1 of one image, 0 to 1; the best over its references."""
    counts = Counter(candidate)
    best = 0.0
    for reference in references:
        shared = sum((counts & Counter(reference)).values())
        if shared:
            best = max(best, _f_measure(shared / len(candidate), shared / len(reference), 1.0))
    return best


def rouge_l(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]], beta: float = 1.2) -> Statistic:
    """Mean ROUGE-L of N candidates, each against its own references."""
    scores = [rouge_l_score(c, r, beta) for c, r in zip(candidates, references, strict=True)]
    return mean_statistic("ROUGE-L", np.array(scores), f"beta {beta:g}")


def rouge_1(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> Statistic:
    """Mean ROUGE-1 F1 of N candidates, each against its own references."""
    scores = [rouge_1_score(c, r) for c, r in zip(candidates, references, strict=True)]
    return mean_statistic("ROUGE-1", np.array(scores), "F1, no stemmer")
