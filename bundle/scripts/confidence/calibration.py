"""Calibration: token probabilities to the probability that a caption is right, fitted on validation images.

``right`` means: plane, modality family and organ read off the caption are those of the reference. The finding is not
part of it. Fitted is ``P(right) = sigmoid(slope * m + offset)`` (Platt 1999; with ``offset`` 0 it would be temperature
scaling, Guo et al. 2017) with m one of

* ``support``: log-probability of the caption's plane, modality and organ under the concept reader, which looks at the
  image alone; where there is a reader, it tells right captions from wrong ones much better;
* ``confidence``: mean log-probability of the caption's tokens under the language model.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scripts.errors import InputError

__all__ = [
    "Calibration",
    "cross_fitted",
    "evidence",
    "expected_calibration_error",
    "fit",
    "load_calibration",
    "risk_coverage",
]

FEATURES = ("support", "confidence")


@dataclass(frozen=True)
class Calibration:
    """``P(right) = sigmoid(slope * m + offset)``, and the weights it belongs to.

    Attributes:
        slope, offset: of the fit.
        feature: what m is.
        weights: name to SHA-256 of every weight file of the network that made the captions.
        generation: options the captions were made with; other options give other log-probabilities.
        images: how many it was fitted on.
        figures: what the command measured (expected calibration error before and after, ...).
    """

    slope: float
    offset: float
    weights: Mapping[str, str] = field(default_factory=dict)
    generation: Mapping[str, Any] = field(default_factory=dict)
    images: int = 0
    target: str = "plane, modality family and organ are right"
    figures: Mapping[str, Any] = field(default_factory=dict)
    feature: str = "confidence"

    def probability(self, m: float | np.ndarray) -> Any:
        """P(right) of one m, or of an array of them."""
        return 1.0 / (1.0 + np.exp(-np.clip(self.slope * np.asarray(m) + self.offset, -60, 60)))

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"


def evidence(record: Mapping[str, Any], feature: str) -> float | None:
    """m of a record; None where it has none."""
    if feature == "support":
        return math.log(max(record["support"], 1e-6)) if record.get("support") is not None else None
    logprobs = record["token_logprobs"]
    return sum(logprobs) / len(logprobs) if logprobs else None


def load_calibration(path: str | Path, weights: Mapping[str, str] | None = None) -> Calibration | None:
    """The calibration in a file; None, with a warning, where it was fitted for other weights; None without a file.

    Raises:
        InputError: the file is no calibration.
    """
    path = Path(path)
    if not str(path) or not path.is_file():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        calibration = Calibration(**stored)
        if not all(_is_number(value) for value in (calibration.slope, calibration.offset)):
            raise ValueError("slope and offset are numbers")
        if calibration.feature not in FEATURES or not isinstance(calibration.weights, Mapping):
            raise ValueError("feature and weights")
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path} is no calibration ({type(error).__name__}): run python -m scripts.studies.calibrate"
        ) from None
    if weights is not None and dict(calibration.weights) != dict(weights):
        others = [
            name for name in {**weights, **calibration.weights} if weights.get(name) != calibration.weights.get(name)
        ]
        warnings.warn(
            f"{path.name} was fitted for other weights ({', '.join(sorted(others))}) and is not used: "
            "run python -m scripts.studies.calibrate again",
            stacklevel=2,
        )
        return None
    return calibration


def _is_number(value: Any) -> bool:
    """A finite one; JSON in Python also reads NaN and Infinity."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def fit(mean_logprobs: np.ndarray, right: np.ndarray, *, ridge: float = 1e-3, steps: int = 100) -> tuple[float, float]:
    """Slope and offset ``[2]`` of a logistic fit by Newton's method.

    Args:
        mean_logprobs: ``[N]``; right: ``[N]`` of 0 and 1. Targets are Platt's smoothed ones, so that a perfectly
            separable set has a finite fit.
        ridge: weak pull of the slope to zero.
    """
    positive, negative = right.sum(), (1 - right).sum()
    target = np.where(right > 0, (positive + 1) / (positive + 2), 1 / (negative + 2))
    centre, scale = mean_logprobs.mean(), max(float(mean_logprobs.std()), 1e-6)
    design = np.stack([(mean_logprobs - centre) / scale, np.ones_like(mean_logprobs)], axis=1)
    pull = np.diag([ridge * len(target), 0.0])
    beta = np.zeros(2)
    for _ in range(steps):
        p = 1 / (1 + np.exp(-design @ beta))
        gradient = design.T @ (p - target) + pull @ beta
        hessian = (design * (p * (1 - p))[:, None]).T @ design + pull + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        beta = beta - step
        if np.abs(step).max() < 1e-10:
            break
    slope = beta[0] / scale
    return float(slope), float(beta[1] - slope * centre)


def cross_fitted(mean_logprobs: np.ndarray, right: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """P(right) ``[N]`` of each caption by a fit on the half of the captions that it is not in."""
    order = np.random.default_rng(seed).permutation(len(right))
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    probability = np.empty(len(right))
    for own, other in (halves, halves[::-1]):
        slope, offset = fit(mean_logprobs[other], right[other])
        probability[own] = Calibration(slope, offset).probability(mean_logprobs[own])
    return probability


def bins_of(probability: np.ndarray, right: np.ndarray, bins: int = 10) -> list[tuple[float, float, int]]:
    """Mean probability, share right and count of each non-empty bin; bins hold equally many captions."""
    order = np.argsort(probability, kind="stable")
    groups = [group for group in np.array_split(order, min(bins, len(order))) if len(group)]
    return [(float(probability[g].mean()), float(right[g].mean()), len(g)) for g in groups]


def expected_calibration_error(probability: np.ndarray, right: np.ndarray, bins: int = 10) -> float:
    """Mean distance between probability and share right over bins of equally many captions, 0 is best."""
    found = bins_of(probability, right, bins)
    return sum(count * abs(mean - share) for mean, share, count in found) / sum(count for *_, count in found)


def risk_coverage(score: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coverage ``[N]`` (share of captions kept, surest first) and risk ``[N]`` (share of those kept that is wrong)."""
    order = np.argsort(-score, kind="stable")
    kept = np.arange(1, len(order) + 1)
    return kept / len(order), np.cumsum(1 - right[order]) / kept
