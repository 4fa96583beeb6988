"""Sections on how far captions can be trusted: calibration and risk at a coverage, and whether maps are faithful.

Both show what other commands measured: ``python -m scripts.studies.calibrate`` and ``python -m
scripts.studies.faithfulness``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scripts.errors import InputError
from scripts.metrics.report import charts
from scripts.metrics.report.content import Chart, Section, Table
from scripts.metrics.tables import number

FIGURES = {
    "share_right": "captions with plane, modality family and organ right",
    "expected_calibration_error_before": "expected calibration error, token probabilities",
    "expected_calibration_error_after": "expected calibration error, calibrated (cross-fitted)",
    "expected_calibration_error_by_chance": "the same of perfectly calibrated captions, by chance",
    "area_under_roc_confidence": "area under ROC: do token probabilities tell right from wrong?",
    "area_under_roc_calibrated": "area under ROC: does the calibrated confidence?",
    "area_under_roc_agreement": "area under ROC: does agreement of samples?",
    "area_under_risk_coverage": "area under the risk-coverage curve",
    "risk_at_25%_coverage": "share wrong among the surest 25 %",
    "risk_at_50%_coverage": "share wrong among the surest 50 %",
    "risk_at_75%_coverage": "share wrong among the surest 75 %",
    "written_finding_right": "finding: the network's own is right",
    "best_finding_right": "finding: the likeliest candidate is right",
    "best_finding_right_by_image": "finding: the same, split by image",
    "finding_calibration_error": "finding: expected calibration error (cross-fitted)",
    "finding_calibration_error_by_image": "finding: the same, split by image",
    "findings_stated": "findings stated by default",
    "stated_findings_right": "findings stated by default that are right",
    "no_abnormality_written": '"no abnormality" written by the network',
    "no_abnormality_right": '"no abnormality" written that is right',
}

OVER_IMAGES = "Intervals are over images, as if independent: too narrow where images share a case."


def confidence_section(study: Mapping[str, Any]) -> Section:
    """Reliability diagram, risk-coverage curve and their figures.

    Args:
        study: ``confidence.json`` of ``python -m scripts.studies.calibrate``.

    Raises:
        InputError: it is another file.
    """
    if not {"images", "risk_coverage", "reliability_before", "reliability_after"} <= set(study):
        raise InputError("--confidence is the confidence.json that `python -m scripts.studies.calibrate` wrote")
    reliability = {
        "token probabilities": [(mean, share) for mean, share, _ in study["reliability_before"]],
        "calibrated": [(mean, share) for mean, share, _ in study["reliability_after"]],
        "perfect": [(0.0, 0.0), (1.0, 1.0)],
    }
    if "finding_reliability" in study:
        reliability["finding"] = [(mean, share) for mean, share, _ in study["finding_reliability"]]
    wrong = 1 - study["share_right"]
    risk = {
        "surest captions kept": [(share, value) for share, value in study["risk_coverage"]],
        "kept at random": [(0.0, wrong), (1.0, wrong)],
    }
    curves = {"finding": "finding_risk_coverage", "finding, split by image": "finding_risk_coverage_by_image"}
    risk |= {name: [(share, value) for share, value in study[key]] for name, key in curves.items() if key in study}
    rows = [[words, _figure(study[key])] for key, words in FIGURES.items() if key in study]
    lead = (
        f"{study['images']} images. Plane, kind and organ are right where plane, modality family and organ are those "
        "of the reference; the finding is judged apart. First: does each confidence mean what it says? Second: what "
        "leaving out the unsure buys, the share of wrong ones among the share that is kept. Split by image: other "
        "validation images are among the similar cases."
    )
    parts = [
        Chart(charts.curves("Reliability", reliability, "confidence"), list(reliability), lines=True),
        Chart(charts.curves("Risk and coverage", risk, "share of captions kept"), list(risk), lines=True),
        Table(["figure", "value"], rows),
    ]
    return Section("How sure it is", lead, parts)


def _figure(value: float) -> str:
    return str(value) if isinstance(value, int) else number(value)


def faithfulness_section(summary: Mapping[str, Any]) -> Section:
    """What hiding the highlighted part of an image does to a word, against hiding another part of the same size.

    Args:
        summary: ``faithfulness.json`` of ``python -m scripts.studies.faithfulness``.

    Raises:
        InputError: it is another file.
    """
    if not {"images", "methods", "tiles"} <= set(summary):
        raise InputError("--faithfulness is the faithfulness.json that `python -m scripts.studies.faithfulness` wrote")
    header = ["map", "words", "images", "fall, highlighted", "fall, other tiles", "difference [95 %]", "wins"]
    rows = [
        [method, row["kind"], str(row["images"]), number(row["highlighted"]), number(row["random"]),
         "{:+.3f} [{:+.3f}, {:+.3f}]".format(row["over_random"], *row["over_random_interval"]), f"{row['wins']:.0%}"]
        for method, found in summary["methods"].items()
        for row in found
    ]  # fmt: skip
    intervals = "Intervals are over groups of images." if summary.get("unit") == "group" else OVER_IMAGES
    lead = (
        f"{summary['images']} images, each cut into {summary['tiles']} tiles that are blurred away one at a time: how "
        "far does a word's log-probability fall (nats) where its map is highest, and elsewhere? A map that tells "
        f"nothing has a difference of zero. {intervals}"
    )
    return Section("Do the maps show what words rest on?", lead, [Table(header, rows, strong=5, words=2)])
