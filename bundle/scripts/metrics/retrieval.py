"""Retrieval scores of stage 1: recall at K both ways, and image-text matching accuracy.

Shape legend: I images, T texts; a matrix `[I, T]` holds the similarity (or match probability) of every pair.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scripts.errors import InputError
from scripts.metrics.diversity import normal_caption
from scripts.metrics.statistic import Statistic, mean_statistic

RANKS = (1, 5, 10)


def same_caption(image_captions: Sequence[str], texts: Sequence[str]) -> np.ndarray:
    """Which texts are right for which images `[I, T]`: equal captions are all right, whoever's they are."""
    left = [normal_caption(caption) for caption in image_captions]
    right = [normal_caption(caption) for caption in texts]
    return np.array([[a == b for b in right] for a in left], bool).reshape(len(left), len(right))


def _checked(matrix: np.ndarray, positives: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    matrix = np.asarray(matrix, float)
    if matrix.ndim != 2 or not np.isfinite(matrix).all():
        raise InputError(f"a similarity matrix is [images, texts] and finite; this one has shape {matrix.shape}")
    if positives is None:
        if matrix.shape[0] != matrix.shape[1]:
            raise InputError(f"shape {matrix.shape}: say which texts are right for which images (positives)")
        positives = np.eye(len(matrix), dtype=bool)
    positives = np.asarray(positives, bool)
    if positives.shape != matrix.shape:
        raise InputError(f"positives {positives.shape} and similarities {matrix.shape} must have one shape")
    return matrix, positives


def _best_ranks(matrix: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Rank (1 = first) of the best right column in each row; a wrong column of equal score goes first.

    Ties count against the model: equal scores for everything must not look like perfect retrieval.
    """
    best = np.where(positives, matrix, -np.inf).max(axis=1)
    return 1 + ((matrix >= best[:, None]) & ~positives).sum(axis=1)


def recall_at(
    similarity: np.ndarray, positives: np.ndarray | None = None, ranks: Sequence[int] = RANKS
) -> list[Statistic]:
    """Recall at each rank, image to text and text to image.

    Args:
        similarity: `[I, T]`, larger is more alike.
        positives: `[I, T]`, which pairs belong together; the diagonal by default.
        ranks: the K of recall at K.

    Raises:
        InputError: shapes do not fit, or values are not finite.
    """
    matrix, right = _checked(similarity, positives)
    statistics = []
    for direction, values, mask in (("image to text", matrix, right), ("text to image", matrix.T, right.T)):
        asked = mask.any(axis=1)  # a query without a right answer asks nothing
        best = _best_ranks(values[asked], mask[asked])
        statistics += [mean_statistic(f"{direction} R@{k}", (best <= k).astype(float)) for k in ranks]
    return statistics


def matching_accuracy(
    probability: np.ndarray, positives: np.ndarray | None = None, threshold: float = 0.5
) -> list[Statistic]:
    """Image-text matching: share of right pairs accepted, of wrong pairs refused, and their mean (balanced accuracy).

    Args:
        probability: `[I, T]`, probability that image and text belong together.
        positives: `[I, T]`, which do; the diagonal by default.
        threshold: accepted from here.
    """
    matrix, right = _checked(probability, positives)
    accepted = matrix >= threshold
    with np.errstate(invalid="ignore", divide="ignore"):
        hits = (accepted & right).sum(axis=1) / right.sum(axis=1)
        refusals = (~accepted & ~right).sum(axis=1) / (~right).sum(axis=1)
    return [
        mean_statistic("ITM accuracy", (hits + refusals) / 2, "balanced"),
        mean_statistic("ITM right pairs accepted", hits),
        mean_statistic("ITM wrong pairs refused", refusals),
    ]
