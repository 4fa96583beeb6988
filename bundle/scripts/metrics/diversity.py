"""Diversity of captions: distinct ones, copies of the training set, loops, lengths; BLEU hides them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scripts.metrics.statistic import Single, Statistic, mean_statistic


def normal_caption(caption: str) -> str:
    """A caption as it is compared for identity: lower case, single spaces, no closing full stop."""
    return " ".join(caption.lower().split()).rstrip(" .")


def distinct_ratio(captions: Sequence[str]) -> Single:
    """Number of different captions over number of captions, 0 to 1 (1 = every image has its own)."""
    share = len({normal_caption(caption) for caption in captions}) / len(captions) if captions else float("nan")
    return Single("distinct captions", share, "different / all")


def verbatim(captions: Sequence[str], training: Sequence[str]) -> Statistic:
    """Share of captions that occur word for word in the training captions."""
    known = {normal_caption(caption) for caption in training}
    return mean_statistic("verbatim in training", np.array([normal_caption(c) in known for c in captions], float))


def is_looped(caption: str, longest: int = 4) -> bool:
    """Whether a run of 1 to `longest` words is said again at once ("of the of the"), the mark of a stuck decoder."""
    words = [word.strip(".,;:()") for word in caption.lower().split()]
    for size in range(1, longest + 1):
        for i in range(len(words) - 2 * size + 1):
            again = words[i : i + size]
            if any(again) and again == words[i + size : i + 2 * size]:
                return True
    return False


def looped(captions: Sequence[str]) -> Statistic:
    """Share of captions with looped words."""
    return mean_statistic("looped words", np.array([is_looped(caption) for caption in captions], float))


def word_count(captions: Sequence[str]) -> Statistic:
    """Mean number of words of a caption."""
    return mean_statistic("words a caption", np.array([len(caption.split()) for caption in captions], float))


def length_histogram(captions: Sequence[str], width: int = 2, highest: int = 60) -> list[tuple[int, int]]:
    """Captions by length: `(first word count of the bin, captions)`; the last bin takes all that are longer."""
    lengths = np.minimum([len(caption.split()) for caption in captions], highest)
    counts = np.bincount(np.asarray(lengths, int) // width) if len(captions) else np.zeros(0, int)
    return [(i * width, int(count)) for i, count in enumerate(counts)]
