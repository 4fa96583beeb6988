"""Figures of the calibration study: how well certainty foretells that a caption's plane, kind and organ are right."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scripts.concepts.fields import field_agreement
from scripts.confidence.evidence import kind_evidence
from scripts.confidence.findings import Fitted
from scripts.confidence.logistic import (
    area_under_roc,
    bins_of,
    cross_fitted,
    error_by_chance,
    expected_calibration_error,
    fit,
    least_confidence,
    risk_coverage,
)
from scripts.data.record_lines import json_line

BEST_FIRST = (("seen", "similar_agreement"), ("seen",), ("support",), ("confidence",))
COVERAGES = (0.25, 0.5, 0.75)


def judge(records: Sequence[Mapping[str, Any]], items: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """``[N]`` of 0 and 1: plane, modality family and organ read off the caption are all those of the reference."""
    agreement = field_agreement(
        [record["caption"] for record in records],
        [item["caption"] for item in items],
        [item.get("fields") for item in items],
    )
    return agreement["plane"] * agreement["modality family"] * agreement["organ"]


def kind_features(records: Sequence[Mapping[str, Any]]) -> tuple[list[str], np.ndarray]:
    """Names of what tells best of what all records have, and the values ``[N, F]``."""
    known = [kind_evidence(record) for record in records]
    common = set.intersection(*map(set, known))
    names = next((list(names) for names in BEST_FIRST if common.issuperset(names)), [])
    return names, np.array([[one[name] for name in names] for one in known]).reshape(len(records), len(names))


def fit_kind(records: Sequence[Mapping[str, Any]], right: np.ndarray) -> Fitted:
    """The fit over all images."""
    names, features = kind_features(records)
    *weights, offset = fit(features, right)
    return Fitted(dict(zip(names, map(float, weights), strict=True)), float(offset))


def measure(
    records: Sequence[Mapping[str, Any]], right: np.ndarray, groups: Sequence[Hashable] | None = None
) -> dict[str, Any]:
    """Figures of plane, kind and organ: single numbers, and the points of both curves.

    *Before* is the geometric mean of token probabilities; *after* and the risks are cross-fitted over groups.

    Args:
        right: ``[N]``, see :func:`judge`.
        groups: of each image; every image is one of its own by default.
    """
    mean_logprobs = np.array([np.mean(record["token_logprobs"]) for record in records])
    names, features = kind_features(records)
    raw = np.exp(mean_logprobs)
    fitted = cross_fitted(features, right, range(len(right)) if groups is None else groups)
    coverage, risk = risk_coverage(fitted, right)
    agreement = [record.get("agreement") for record in records]
    study: dict[str, Any] = {
        "images": len(records),
        "share_right": float(right.mean()),
        "expected_calibration_error_before": expected_calibration_error(raw, right),
        "expected_calibration_error_after": expected_calibration_error(fitted, right),
        "expected_calibration_error_by_chance": error_by_chance(fitted),
        "area_under_roc_confidence": area_under_roc(mean_logprobs, right),
        "area_under_roc_calibrated": area_under_roc(fitted, right),
        "area_under_risk_coverage": float(risk.mean()),
        "least_confidence": least_confidence(fitted, right),
    }
    for number, name in enumerate(names):
        study[f"area_under_roc_{name}"] = area_under_roc(features[:, number], right)
    if all(value is not None for value in agreement):
        study["area_under_roc_agreement"] = area_under_roc(np.array(agreement), right)
    for share in COVERAGES:
        study[f"risk_at_{share:.0%}_coverage"] = float(risk[int(np.ceil(share * len(risk))) - 1])
    study["reliability_before"] = bins_of(raw, right)
    study["reliability_after"] = bins_of(fitted, right)
    study["risk_coverage"] = [[float(c), float(r)] for c, r in zip(coverage, risk, strict=True)]
    return study


def write_report(study: Mapping[str, Any], records: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """``confidence.json``, ``captions.jsonl`` and both pictures in ``folder``."""
    lines = "".join(json_line(record) for record in records)
    (folder / "captions.jsonl").write_text(lines, encoding="utf-8")
    (folder / "confidence.json").write_text(json.dumps(study, indent=1) + "\n", encoding="utf-8")
    _draw_reliability(study, folder / "reliability.png")
    _draw_risk_coverage(study, folder / "risk_coverage.png")


def _axes(title: str, x: str, y: str) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.set(title=title, xlabel=x, ylabel=y, xlim=(0, 1), ylim=(0, 1.02))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return figure, axes


def _draw_reliability(study: Mapping[str, Any], path: Path) -> None:
    figure, axes = _axes("Does confidence mean what it says?", "confidence", "share that is right")
    axes.plot([0, 1], [0, 1], color="0.6", linestyle=":", label="perfectly calibrated")
    lines = {
        "token probabilities": ("reliability_before", "expected_calibration_error_before", "#c2573a"),
        "plane, kind, organ (cross-fitted)": ("reliability_after", "expected_calibration_error_after", "#2f6f8f"),
        "finding (cross-fitted)": ("finding_reliability", "finding_calibration_error", "#8a6d1f"),
    }
    for label, (points, error, colour) in lines.items():
        if points in study:
            mean, share, _ = zip(*study[points], strict=True)
            axes.plot(mean, share, marker="o", color=colour, label=f"{label}, error {study[error]:.3f}")
    axes.legend(frameon=False, loc="upper left", fontsize=9)
    figure.savefig(path, dpi=140)


def _draw_risk_coverage(study: Mapping[str, Any], path: Path) -> None:
    figure, axes = _axes("What leaving out the unsure buys", "share kept, surest first", "share of those that is wrong")
    lines = {
        "plane, kind, organ": ("risk_coverage", "#2f6f8f", "-"),
        "finding, unseen cases": ("finding_risk_coverage", "#8a6d1f", "-"),
        "finding, relatives in the index": ("finding_risk_coverage_by_image", "#8a6d1f", "--"),
    }
    for label, (points, colour, style) in lines.items():
        if points in study:
            coverage, risk = zip(*study[points], strict=True)
            axes.plot(coverage, risk, color=colour, linestyle=style, label=label)
    axes.axhline(1 - study["share_right"], color="0.6", linestyle=":", label="plane, kind, organ, kept at random")
    axes.legend(frameon=False, fontsize=9)
    figure.savefig(path, dpi=140)
