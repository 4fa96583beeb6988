"""Figures of the calibration study: how well certainty foretells that a caption is right."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scripts.concepts.fields import field_agreement
from scripts.confidence.calibration import bins_of, cross_fitted, evidence, expected_calibration_error, risk_coverage
from scripts.data.record_lines import json_line

__all__ = ["area_under_roc", "best_feature", "judge", "measure", "write_report"]

COVERAGES = (0.25, 0.5, 0.75)


def judge(records: Sequence[Mapping[str, Any]], items: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """``[N]`` of 0 and 1: plane, modality family and organ read off the caption are all those of the reference."""
    agreement = field_agreement(
        [record["caption"] for record in records],
        [item["caption"] for item in items],
        [item.get("fields") for item in items],
    )
    return agreement["plane"] * agreement["modality family"] * agreement["organ"]


def area_under_roc(score: np.ndarray, right: np.ndarray) -> float:
    """Chance that a right caption has a higher score than a wrong one, ties counted half; NaN where all are alike."""
    good, bad = score[right > 0], score[right == 0]
    if not len(good) or not len(bad):
        return float("nan")
    above = (good[:, None] > bad[None]).mean() + 0.5 * (good[:, None] == bad[None]).mean()
    return float(above)


def best_feature(records: Sequence[Mapping[str, Any]]) -> str:
    """What a calibration of these records rests on: the concept reader's support where all have it."""
    return "support" if all(record.get("support") is not None for record in records) else "confidence"


def measure(records: Sequence[Mapping[str, Any]], right: np.ndarray) -> dict[str, Any]:
    """Figures of a study: single numbers, and the points of both curves.

    *Before* is the geometric mean of token probabilities; *after* and the risks are of the feature that is calibrated.
    """
    mean_logprobs = np.array([np.mean(record["token_logprobs"]) for record in records])
    feature = best_feature(records)
    found = np.array([evidence(record, feature) for record in records])
    raw = np.exp(mean_logprobs)
    fitted = cross_fitted(found, right)
    coverage, risk = risk_coverage(found, right)
    agreement = [record.get("agreement") for record in records]
    study: dict[str, Any] = {
        "images": len(records),
        "share_right": float(right.mean()),
        "expected_calibration_error_before": expected_calibration_error(raw, right),
        "expected_calibration_error_after": expected_calibration_error(fitted, right),
        "area_under_roc_confidence": area_under_roc(mean_logprobs, right),
        "area_under_risk_coverage": float(risk.mean()),
    }
    if feature == "support":
        study["area_under_roc_support"] = area_under_roc(found, right)
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
    figure, axes = _axes("Does confidence mean what it says?", "confidence", "share of captions that are right")
    axes.plot([0, 1], [0, 1], color="0.6", linestyle=":", label="perfectly calibrated")
    for key, colour in (("before", "#c2573a"), ("after", "#2f6f8f")):
        mean, share, _ = zip(*study[f"reliability_{key}"], strict=True)
        error = study[f"expected_calibration_error_{key}"]
        label = {"before": "token probabilities", "after": "calibrated (cross-fitted)"}[key]
        axes.plot(mean, share, marker="o", color=colour, label=f"{label}, error {error:.3f}")
    axes.legend(frameon=False, loc="upper left", fontsize=9)
    figure.savefig(path, dpi=140)


def _draw_risk_coverage(study: Mapping[str, Any], path: Path) -> None:
    figure, axes = _axes(
        "What withholding unsure captions buys", "share of captions kept", "share of those that is wrong"
    )
    coverage, risk = zip(*study["risk_coverage"], strict=True)
    axes.plot(coverage, risk, color="#2f6f8f", label="surest captions kept")
    axes.axhline(1 - study["share_right"], color="0.6", linestyle=":", label="kept at random")
    axes.legend(frameon=False, fontsize=9)
    figure.savefig(path, dpi=140)
