"""Study of findings: how often candidates are right, the fit over what speaks for them, the threshold to state one.

Two splits tell two things. *By group* is how validation was split: no diagnosis and no neighbouring case of an image is
among the training cases, as for a patient never seen. *By image* adds the other validation images to the index of
similar cases, as where an archive holds other images of the same patient or disease. Probabilities are fitted on both,
each validation image once in each; the threshold must hold in both.

Shape legend: M candidates of all images and splits, F what speaks for one (`FINDING_FEATURES`), N images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scripts.concepts.fields import NO_ABNORMALITY, split_finding, true_fields
from scripts.confidence.findings import FINDING_FEATURES, FittedFindings, candidates
from scripts.confidence.logistic import (
    area_under_roc,
    bins_of,
    error_by_chance,
    expected_calibration_error,
    fit,
    folds_of,
    probability,
    risk_coverage,
)

if TYPE_CHECKING:
    from scripts.concepts.similar_cases import SimilarCase

RIDGE = 1e-2
LEVELS = (0.3, 0.5)  # thresholds of which figures tell, whatever the threshold is
HALF, LEAST = 0.5, 5  # stated findings are right at least half of the time, and there are as many to tell it by


@dataclass(frozen=True)
class FindingRows:
    """Candidates of all images in one split.

    Attributes:
        features: ``[M, F]``; right: ``[M]`` of 0 and 1; image: ``[M]``, which image each is of.
        counts: ``[N]`` bool, images whose reference states a finding.
        groups: of each of the N images.
    """

    features: np.ndarray
    right: np.ndarray
    image: np.ndarray
    counts: np.ndarray
    groups: Sequence[Any]

    def best(self, chance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of each image that has candidates and counts: the highest chance, and whether that candidate is right."""
        order = np.lexsort((-chance, self.image))
        first = order[np.unique(self.image[order], return_index=True)[1]]
        first = first[self.counts[self.image[first]]]
        return chance[first], self.right[first]


def rows_of(
    records: Sequence[Mapping[str, Any]],
    items: Sequence[Mapping[str, Any]],
    near: Sequence[Sequence[SimilarCase]] | None = None,
) -> FindingRows:
    """Candidates of records that a rule has judged.

    Args:
        records: of captions; the network's own words are in ``written``.
        items: of the same images: ``caption``, ``fields``, ``group``.
        near: other similar cases than those of the records.
    """
    features, right, image = [], [], []
    truths = [true_fields(item["caption"], item.get("fields")).abnormality for item in items]
    for number, (record, truth) in enumerate(zip(records, truths, strict=True)):
        found = {one["finding"]: one["evidence"] for one in record["findings"]}
        if near is not None:
            beams = {name: known["beams"] for name, known in found.items() if known["beams"] > 0}
            found = {one.finding: one.evidence for one in candidates(record["written"], beams, near[number])}
        for finding, known in found.items():
            features.append([known[name] for name in FINDING_FEATURES])
            right.append(float(finding == truth))
            image.append(number)
    groups = [item.get("group") or str(item["image"]) for item in items]
    stated = np.array([truth is not None for truth in truths])
    shaped = np.array(features, float).reshape(-1, len(FINDING_FEATURES))
    return FindingRows(shaped, np.array(right), np.array(image, int), stated, groups)


def normal_written(records: Sequence[Mapping[str, Any]], items: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many captions the network ended with "no abnormality", and of how many it is true."""
    normal = [
        true_fields(item["caption"], item.get("fields")).abnormality == NO_ABNORMALITY
        for record, item in zip(records, items, strict=True)
        if split_finding(record["written"])[1] == NO_ABNORMALITY
    ]
    return {"no_abnormality_written": len(normal), "no_abnormality_right": sum(normal)}


def _fit(splits: Mapping[str, FindingRows], leave_out: np.ndarray | None = None, fold: int = -1) -> np.ndarray:
    """Weights ``[F + 1]`` over both splits, without the images of a fold."""
    features, right = [], []
    for rows in splits.values():
        kept = np.ones(len(rows.right), bool) if leave_out is None else leave_out[rows.image] != fold
        features.append(rows.features[kept])
        right.append(rows.right[kept])
    return fit(np.concatenate(features), np.concatenate(right), ridge=RIDGE)


def cross_fitted_findings(splits: Mapping[str, FindingRows]) -> dict[str, np.ndarray]:
    """Chance ``[M]`` of each candidate of each split by a fit on the groups of other folds."""
    fold = folds_of(next(iter(splits.values())).groups)
    chances = {name: np.zeros(len(rows.right)) for name, rows in splits.items()}
    for number in np.unique(fold):
        weights = _fit(splits, fold, number)
        for name, rows in splits.items():
            own = fold[rows.image] == number
            chances[name][own] = probability(rows.features[own], weights)
    return chances


def threshold_of(best: Sequence[tuple[np.ndarray, np.ndarray]]) -> float | None:
    """The least chance from which stated findings are right half of the time in every split; None where there is none.

    A split in which that states nothing does not speak against it; together they must state `LEAST`.

    Args:
        best: of each split, chances ``[N]`` of best candidates and whether they are right.
    """
    for least in np.unique(np.round(np.concatenate([chance for chance, _ in best]), 4)):
        stated = [right[chance >= least] for chance, right in best]
        if sum(len(one) for one in stated) >= LEAST and all(one.mean() >= HALF for one in stated if len(one)):
            return float(least)
    return None


def fit_findings(splits: Mapping[str, FindingRows]) -> FittedFindings:
    """The fit over all images, with the threshold that cross-fitted chances give."""
    weights = _fit(splits)
    chances = cross_fitted_findings(splits)
    threshold = threshold_of([rows.best(chances[name]) for name, rows in splits.items()])
    named = {name: float(value) for name, value in zip(FINDING_FEATURES, weights[:-1], strict=True)}
    return FittedFindings(named, float(weights[-1]), threshold)


def measure_findings(splits: Mapping[str, FindingRows]) -> dict[str, Any]:
    """Figures of the finding: those of the split by group plain, those by image with ``_by_image`` behind."""
    chances = cross_fitted_findings(splits)
    best = {name: rows.best(chances[name]) for name, rows in splits.items()}
    threshold = threshold_of(list(best.values()))
    study: dict[str, Any] = {"finding_threshold": threshold}
    for name, (chance, right) in best.items():
        ending = "" if name == "group" else f"_by_{name}"
        written = splits[name].features[:, FINDING_FEATURES.index("written")] * splits[name].counts[splits[name].image]
        shown = {"written_finding_right": float(splits[name].right[written > 0].mean()) if written.any() else 0.0}
        shown["best_finding_right"] = float(right.mean())
        shown["finding_calibration_error"] = expected_calibration_error(chance, right)
        shown["finding_calibration_error_by_chance"] = error_by_chance(chance)
        shown["area_under_roc_finding"] = area_under_roc(chance, right)
        stated = np.zeros(len(right), bool) if threshold is None else chance >= threshold
        shown["findings_stated"], shown["stated_findings_right"] = int(stated.sum()), int(right[stated].sum())
        for least in LEVELS:
            shown[f"stated_from_{least:.0%}"] = int((chance >= least).sum())
            shown[f"right_from_{least:.0%}"] = int(right[chance >= least].sum())
        study |= {key + ending: value for key, value in shown.items()}
        coverage, risk = risk_coverage(chance, right)
        study["finding_reliability" + ending] = bins_of(chance, right)
        study["finding_risk_coverage" + ending] = [[float(c), float(r)] for c, r in zip(coverage, risk, strict=True)]
    return study
