"""Logistic regression of few features on few cases: fit, cross-fitting over groups, how good probabilities are."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

BINS = 5  # of about sixty of three hundred captions: in smaller ones chance alone makes an error of .07
FOLDS = 10


def probability(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """``sigmoid(features @ weights[:-1] + weights[-1])``, ``[N]`` of ``[N, F]`` and ``[F + 1]``."""
    return 1 / (1 + np.exp(-np.clip(features @ weights[:-1] + weights[-1], -60, 60)))


def fit(features: np.ndarray, right: np.ndarray, *, ridge: float = 1e-3, steps: int = 100) -> np.ndarray:
    """Weights ``[F + 1]``, the offset last, of a logistic fit by Newton's method.

    Args:
        features: ``[N, F]``; right: ``[N]`` of 0 and 1. Targets are smoothed as Platt (1999) has it, so that a
            perfectly separable set has a finite fit.
        ridge: pull of the weights (of features in units of their spread) to zero.
    """
    positive, negative = right.sum(), (1 - right).sum()
    target = np.where(right > 0, (positive + 1) / (positive + 2), 1 / (negative + 2))
    centre, spread = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
    design = np.column_stack([(features - centre) / spread, np.ones(len(features))])
    pull = np.diag([ridge * len(target)] * features.shape[1] + [0.0])
    beta = np.zeros(design.shape[1])
    for _ in range(steps):
        p = probability(design[:, :-1], beta)
        gradient = design.T @ (p - target) + pull @ beta
        hessian = (design * (p * (1 - p))[:, None]).T @ design + pull + 1e-9 * np.eye(len(beta))
        step = np.linalg.solve(hessian, gradient)
        beta = beta - step
        if np.abs(step).max() < 1e-10:
            break
    weights = beta[:-1] / spread
    return np.append(weights, beta[-1] - weights @ centre)


def folds_of(groups: Sequence[Hashable], folds: int = FOLDS, *, seed: int = 0) -> np.ndarray:
    """Fold ``[N]`` of each case; the cases of a group are in one."""
    names = sorted(set(groups), key=str)
    order = np.random.default_rng(seed).permutation(len(names))
    fold = {name: int(place) % folds for name, place in zip(names, order, strict=True)}
    return np.array([fold[group] for group in groups])


def cross_fitted(features: np.ndarray, right: np.ndarray, groups: Sequence[Hashable], *, seed: int = 0) -> np.ndarray:
    """Probability ``[N]`` of each case by a fit on the groups that are in other folds than its own."""
    fold = folds_of(groups, seed=seed)
    found = np.empty(len(right))
    for number in np.unique(fold):
        own = fold == number
        found[own] = probability(features[own], fit(features[~own], right[~own]))
    return found


def bins_of(probability: np.ndarray, right: np.ndarray, bins: int = BINS) -> list[tuple[float, float, int]]:
    """Mean probability, share right and count of each non-empty bin; bins hold equally many captions."""
    order = np.argsort(probability, kind="stable")
    groups = [group for group in np.array_split(order, min(bins, len(order))) if len(group)]
    return [(float(probability[g].mean()), float(right[g].mean()), len(g)) for g in groups]


def expected_calibration_error(probability: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """Mean distance between probability and share right over bins of equally many captions, 0 is best."""
    found = bins_of(probability, right, bins)
    return sum(count * abs(mean - share) for mean, share, count in found) / sum(count for *_, count in found)


def error_by_chance(probability: np.ndarray, bins: int = BINS, draws: int = 200) -> float:
    """Expected calibration error of so many captions that are right exactly as often as these probabilities say."""
    random = np.random.default_rng(0)
    drawn = (random.random(len(probability)) < probability for _ in range(draws))
    return float(np.mean([expected_calibration_error(probability, right.astype(float), bins) for right in drawn]))


def risk_coverage(score: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coverage ``[N]`` (share of captions kept, surest first) and risk ``[N]`` (share of those kept that is wrong)."""
    order = np.argsort(-score, kind="stable")
    kept = np.arange(1, len(order) + 1)
    return kept / len(order), np.cumsum(1 - right[order]) / kept


def least_confidence(score: np.ndarray, right: np.ndarray, wanted: float = 2 / 3) -> float:
    """Lowest confidence, in hundredths, from which on ``wanted`` of the captions are right; 0 where all may be given.

    There the risk-coverage curve first falls to ``1 - wanted``. Where it never does, the result is 1.
    """
    for hundredth in range(101):
        kept = score >= hundredth / 100
        if kept.any() and right[kept].mean() >= wanted:
            return hundredth / 100
    return 1.0


def area_under_roc(score: np.ndarray, right: np.ndarray) -> float:
    """Chance that a right caption has a higher score than a wrong one, ties counted half; NaN where all are alike."""
    good, bad = score[right > 0], score[right == 0]
    if not len(good) or not len(bad):
        return float("nan")
    above = (good[:, None] > bad[None]).mean() + 0.5 * (good[:, None] == bad[None]).mean()
    return float(above)
