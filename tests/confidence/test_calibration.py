"""Calibration against scipy and against hand-computed values; which captions are withheld."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from scripts.confidence import Calibration, ConfidenceRule, caption_agreement, load_calibration
from scripts.confidence.findings import Fitted, FittedFindings
from scripts.confidence.logistic import (
    area_under_roc,
    bins_of,
    cross_fitted,
    error_by_chance,
    expected_calibration_error,
    fit,
    folds_of,
    least_confidence,
    risk_coverage,
)
from scripts.errors import InputError
from scripts.studies.calibration_figures import fit_kind, judge, measure, write_report
from scripts.studies.finding_study import measure_findings, normal_written, rows_of

WEIGHTS = {"model.pt": "a" * 64}


def of_kind(slope: float, offset: float, feature: str = "confidence") -> Calibration:
    return Calibration(Fitted({feature: slope}, offset), weights=WEIGHTS, images=10)


def drawn(count: int, slopes: tuple[float, ...] = (3.0,), offset: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    m = -random.gamma(2.0, 0.4, (count, len(slopes)))
    return m, (random.random(count) < 1 / (1 + np.exp(-(m @ np.array(slopes) + offset)))).astype(float)


def test_the_fit_is_the_maximum_of_the_likelihood_and_finds_the_truth() -> None:
    m, right = drawn(20_000, (3.0, -1.0))
    found = fit(m, right, ridge=0.0)
    good, bad = right.sum(), (1 - right).sum()
    target = np.where(right > 0, (good + 1) / (good + 2), 1 / (bad + 2))

    def loss(beta: np.ndarray) -> float:
        z = m @ beta[:2] + beta[2]
        return float((np.logaddexp(0, z) - target * z).mean())

    best = minimize(loss, np.zeros(3), method="BFGS", options={"gtol": 1e-9}).x
    assert found == pytest.approx(best, abs=1e-3)
    assert found == pytest.approx([3.0, -1.0, 2.0], abs=0.15)


def test_a_separable_set_has_a_finite_fit() -> None:
    slope, offset = fit(np.array([[-3.0], [-2.0], [-1.0], [-0.5]]), np.array([0.0, 0.0, 1.0, 1.0]))
    assert math.isfinite(slope) and math.isfinite(offset) and slope > 0


def test_cross_fitting_lowers_the_error_of_overconfident_captions() -> None:
    m, right = drawn(600, (2.0,), offset=0.0)
    before = expected_calibration_error(np.exp(m[:, 0]), right)
    fitted = cross_fitted(m, right, range(600))
    assert expected_calibration_error(fitted, right) < before / 2
    assert expected_calibration_error(fitted, right) < 2.5 * error_by_chance(fitted)


def test_a_group_is_in_one_fold_and_is_not_judged_by_itself() -> None:
    groups = [number // 3 for number in range(60)]
    fold = folds_of(groups, 5)
    assert all(len(set(fold[3 * group : 3 * group + 3])) == 1 for group in range(20)) and len(set(fold)) == 5
    m, right = drawn(60)
    other = right.copy()
    other[:3] = 1 - other[:3]  # what is right in a group does not change its own probabilities
    assert cross_fitted(m, right, groups)[:3] == pytest.approx(cross_fitted(m, other, groups)[:3])
    assert cross_fitted(m, right, groups)[3:] != pytest.approx(cross_fitted(m, other, groups)[3:])


def test_calibration_error_and_risk_by_hand() -> None:
    probability, right = np.array([0.1, 0.3, 0.8, 0.6]), np.array([0.0, 1.0, 1.0, 0.0])
    assert bins_of(probability, right, 2) == [(pytest.approx(0.2), 0.5, 2), (pytest.approx(0.7), 0.5, 2)]
    assert expected_calibration_error(probability, right, 2) == pytest.approx((0.3 + 0.2) / 2)
    coverage, risk = risk_coverage(probability, right)
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert risk.tolist() == pytest.approx([0.0, 0.5, 1 / 3, 0.5])
    assert area_under_roc(probability, right) == 0.75


def test_a_calibration_of_other_weights_is_ignored_with_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    finding = FittedFindings({"near": 2.0}, -3.0, 0.6)
    path.write_text(Calibration(Fitted({"confidence": 2.0}, 1.0), finding, weights=WEIGHTS).to_json())
    read = load_calibration(path, WEIGHTS)
    assert read.kind.probability({"confidence": -0.5}) == pytest.approx(0.5) and read.finding == finding
    with pytest.warns(UserWarning, match=r"other weights \(model.pt\)"):
        assert load_calibration(path, {"model.pt": "b" * 64}) is None
    assert load_calibration(tmp_path / "absent.json", WEIGHTS) is None


@pytest.mark.parametrize(
    "text",
    ["{}", "[]", "", "NaN", '{"slope": NaN, "offset": 1}', '{"slope": 1, "offset": -Infinity}', "\udcff", "[" * 5000,
     '{"slope": "2.0", "offset": 1}', '{"slope": true, "offset": 1}', '{"slope": 1, "offset": null}',
     '{"slope": 1e999, "offset": 1}', '{"slope": 1, "offset": 1, "weights": "text"}',
     '{"kind": {"weights": {"another": 1.0}, "offset": 0.0}, "weights": {}}',
     '{"kind": {"weights": {"seen": NaN}, "offset": 0.0}, "weights": {}}',
     '{"slope": 1, "offset": 1, "x": 1}', '{"slope": 1, "offset": 1, "feature": "another"}'],
)  # fmt: skip
def test_what_is_no_calibration_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "calibration.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match="no calibration"):
        load_calibration(path, WEIGHTS)


def test_a_calibration_of_an_older_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps({"slope": 2.0, "offset": 1.0, "weights": WEIGHTS, "feature": "support", "target": "x"}))
    rule = ConfidenceRule(calibration=path, weights=WEIGHTS)
    judged = rule.apply({**record("a", [-3.0]), "support": math.exp(-0.5)})
    assert judged["confidence"] == pytest.approx(0.5) and judged["finding_confidence"] is None
    assert rule.apply({**record("a", [-3.0]), "support": None})["confidence"] is None


def test_a_study_rests_on_support_where_all_captions_have_it() -> None:
    m, right = drawn(400)
    words = np.random.default_rng(2).normal(-1, 0.3, 400)  # says nothing of what is right
    records = [{**record("a", [w]), "support": math.exp(value)} for w, value in zip(words, m[:, 0], strict=True)]
    study = measure(records, right)
    assert set(fit_kind(records, right).weights) == {"support"}
    assert study["area_under_roc_support"] > 0.7 > 0.6 > study["area_under_roc_confidence"]
    assert study["risk_at_25%_coverage"] < 1 - right.mean()
    records[0]["support"] = None
    assert set(fit_kind(records, right).weights) == {"confidence"}
    assert "area_under_roc_support" not in measure(records, right)


def record(caption: str | None, logprobs: list[float] | None) -> dict:
    mean = None if logprobs is None else math.exp(sum(logprobs) / len(logprobs))
    return {"caption": caption, "tokens": ["x"], "token_logprobs": logprobs, "token_confidence": mean, "error": None}


def test_the_usual_limit_is_the_calibration_s(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(replace(of_kind(2.0, 0.0), abstain_below=0.3).to_json())
    unsure = record("Axial CT.", [-1.0])
    for asked, withheld in ((None, True), (0.0, False), (0.05, False)):
        rule = ConfidenceRule(calibration=path, weights=WEIGHTS, abstain_below=asked)
        assert rule.apply(unsure)["abstained"] is withheld
    said = ConfidenceRule(calibration=path, weights=WEIGHTS).apply(unsure)["withheld"]
    assert said == "not sure enough: 12% likely right, asked for are 30%"


def test_the_least_confidence_leaves_two_of_three_right() -> None:
    score, right = np.array([0.1, 0.2, 0.305, 0.6, 0.8, 0.9]), np.array([0, 0, 0, 1, 1, 0])
    assert least_confidence(score, right) == 0.31  # 0.305 is wrong: above it two of three are right
    assert least_confidence(score, right, 0.5) == 0.21
    assert least_confidence(score, np.ones(6)) == 0.0 and least_confidence(score, np.zeros(6)) == 1.0


def test_unsure_captions_are_withheld_by_the_calibrated_value(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(of_kind(2.0, 0.0).to_json())
    rule = ConfidenceRule(calibration=path, weights=WEIGHTS, abstain_below=0.3)
    kept = rule.apply(record("Axial CT.", [-0.2, -0.4]), ["Axial CT.", "Sagittal MRI."])
    assert kept["confidence"] == pytest.approx(1 / (1 + math.exp(0.6)), abs=1e-6)
    assert kept["agreement"] == 0.5 and not kept["abstained"] and kept["caption"]
    withheld = rule.apply(record("Axial CT.", [-1.0]))
    assert withheld["abstained"] and withheld["caption"] is withheld["tokens"] is withheld["written"] is None
    assert withheld["error"] is None and withheld["confidence"] == pytest.approx(0.119203, abs=1e-6)
    assert not ConfidenceRule().apply(record("Axial CT.", [-9.0]))["abstained"]
    assert ConfidenceRule(abstain_below=0.5).apply(record("Axial CT.", [-1.0]))["abstained"]
    for wrong in ({"abstain_below": 50}, {"findings": "sometimes"}, {"finding_threshold": 2}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            ConfidenceRule(**wrong)


def test_agreement_counts_words() -> None:
    assert caption_agreement("axial CT of the head", ["Axial CT of the head"]) == 1.0
    assert caption_agreement("a b", ["a c", "d e"]) == pytest.approx(0.25)
    assert caption_agreement("a b", []) is None


def test_a_study_from_captions_to_pictures(tmp_path: Path) -> None:
    truth = "Axial CT of the head showing stroke."
    captions = [truth if i % 3 else "Sagittal MRI of the spine showing nothing." for i in range(30)]
    sure = [[-0.2 - 0.01 * i] if i % 3 else [-1.5 - 0.01 * i] for i in range(30)]
    rule, items = ConfidenceRule(findings="always"), [{"caption": truth, "image": str(i)} for i in range(30)]
    records = [{**rule.apply(record(c, m)), "agreement": 0.5} for c, m in zip(captions, sure, strict=True)]
    right = judge(records, items)
    assert right.sum() == 20
    study = measure(records, right) | measure_findings({"group": rows_of(records, items)})
    assert study["area_under_roc_confidence"] == 1.0 and study["area_under_roc_agreement"] == 0.5
    assert study["risk_at_50%_coverage"] == 0.0 and study["risk_coverage"][-1] == [1.0, pytest.approx(1 / 3)]
    assert study["written_finding_right"] == pytest.approx(2 / 3)
    normal = [{"written": "MRI of the spine with no abnormality."}, {"written": truth}]
    said = [{"caption": truth}, {"caption": "MRI of the spine with no abnormality."}]
    assert normal_written(normal, said) == {"no_abnormality_written": 1, "no_abnormality_right": 0}
    write_report(study, records, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {
        "captions.jsonl", "confidence.json", "reliability.png", "risk_coverage.png"
    }  # fmt: skip
    assert json.loads((tmp_path / "confidence.json").read_text())["images"] == 30
