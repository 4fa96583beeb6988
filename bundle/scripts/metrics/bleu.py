"""BLEU-1..4 (Papineni et al., ACL 2002) over tokens, as `pycocoevalcap` computes it for COCO captions.

Corpus level: clipped n-gram counts are summed over images before they are divided; the brevity penalty takes the
reference length closest to the candidate's. The constants keep a zero count from making the whole score zero.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from scripts.metrics.statistic import Statistic

ORDERS = 4
_TINY, _SMALL = 1e-15, 1e-9

Tokens = Sequence[str]


def ngram_counts(tokens: Tokens, highest: int = ORDERS) -> Counter[tuple[str, ...]]:
    """How often each n-gram of length 1..`highest` occurs."""
    return Counter(tuple(tokens[i : i + n]) for n in range(1, highest + 1) for i in range(len(tokens) - n + 1))


def bleu_row(candidate: Tokens, references: Sequence[Tokens]) -> np.ndarray:
    """What one image adds: `[matches x 4, candidate n-grams x 4, candidate length, closest reference length]`."""
    allowed: Counter[tuple[str, ...]] = Counter()
    for reference in references:
        allowed |= ngram_counts(reference)
    matches = np.zeros(ORDERS)
    for ngram, count in ngram_counts(candidate).items():
        matches[len(ngram) - 1] += min(count, allowed[ngram])
    length = len(candidate)
    possible = [max(0, length - n + 1) for n in range(1, ORDERS + 1)]
    closest = min((abs(len(r) - length), len(r)) for r in references)[1]
    return np.array([*matches, *possible, length, closest], float)


def _finish(order: int, sums: np.ndarray) -> np.ndarray:
    matches, possible = sums[..., :ORDERS], sums[..., ORDERS : 2 * ORDERS]
    precision = (matches[..., :order] + _TINY) / (possible[..., :order] + _SMALL)
    score = np.exp(np.log(precision).mean(axis=-1))
    ratio = (sums[..., 2 * ORDERS] + _TINY) / (sums[..., 2 * ORDERS + 1] + _SMALL)
    return score * np.where(ratio < 1, np.exp(1 - 1 / ratio), 1.0)


def bleu(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> list[Statistic]:
    """BLEU-1 to BLEU-4 of N candidates, each against its own references.

    Args:
        candidates: N token lists.
        references: N lists of one or more token lists.
    """
    rows = np.array([bleu_row(c, r) for c, r in zip(candidates, references, strict=True)]).reshape(-1, 2 * ORDERS + 2)
    return [
        Statistic(f"BLEU-{order}", rows, lambda sums, order=order: _finish(order, sums), "closest reference length")
        for order in range(1, ORDERS + 1)
    ]
