"""Agreement of a caption with captions sampled for the same image: a model that knows says the same again."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence


def word_f1(left: str, right: str) -> float:
    """F1 of the words of two texts, counted with repetitions, 0 to 1."""
    first, second = (Counter(re.findall(r"\w+", text.lower())) for text in (left, right))
    shared = sum((first & second).values())
    return 2 * shared / (sum(first.values()) + sum(second.values())) if shared else 0.0


def caption_agreement(caption: str, samples: Sequence[str]) -> float | None:
    """Mean :func:`word_f1` between the caption and the sampled ones, 0 to 1; None without samples."""
    return sum(word_f1(caption, sample) for sample in samples) / len(samples) if samples else None
