"""Findings: what speaks for each, when a caption states one, and where its sentence ends otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.concepts.fields import split_finding, with_finding
from scripts.concepts.similar_cases import SimilarCase
from scripts.confidence import Calibration, ConfidenceRule
from scripts.confidence.doubts import doubts_of
from scripts.confidence.evidence import Evidence, kind_evidence
from scripts.confidence.findings import FINDING_FEATURES, Fitted, FittedFindings, candidates
from scripts.confidence.rule import LIKELIER
from scripts.studies.finding_study import FindingRows, cross_fitted_findings, measure_findings, threshold_of

STROKE = "Axial CT of the head showing stroke."
WEIGHTS = {"model.pt": "a" * 64}


def near(distance: float, finding: str | None, modality: str = "ct", organ: str = "head") -> SimilarCase:
    return SimilarCase(f"case {distance}", distance, "axial", modality, organ, finding)


def record(caption: str = STROKE, **more: Any) -> dict[str, Any]:
    tokens = [" " + word for word in caption.split()] + [""]
    return {"caption": caption, "prompt": "", "tokens": tokens, "token_logprobs": [-0.5] * len(tokens),
            "token_confidence": 0.6, "error": None, **more}  # fmt: skip


def rule(tmp_path: Path, threshold: float | None, **options: Any) -> ConfidenceRule:
    """Probability is that of the nearest case's distance, 1/2 at 0.1."""
    finding = FittedFindings({"near": 8.0}, -8.0 * float(np.log(3)), threshold)
    path = tmp_path / "calibration.json"
    path.write_text(Calibration(Fitted({"confidence": 1.0}, 0.0), finding, weights=WEIGHTS).to_json())
    return ConfidenceRule(calibration=path, weights=WEIGHTS, **options)


@pytest.mark.parametrize(("caption", "before", "finding"), [
    (STROKE, "Axial CT of the head", "stroke"),
    ("CT of the abdomen. The aorta is wide.", "CT of the abdomen", "the aorta is wide"),
    ("MRI of the spine with no abnormality.", "MRI of the spine", "no abnormality"),
    ("MRI of the spine with an abnormal appearance", "MRI of the spine", "abnormal appearance"),
    ("PA X-ray of the chest.", "PA X-ray of the chest", None),
    ("An MRI. It is axial. The head has a mass.", "An MRI. It is axial. The head has a mass", None),
    ("An MRI. It is axial. A mass is seen.", "An MRI. It is axial", "a mass is seen"),
    ("CT of the knee showing 1. a tear. 2. a cyst.", "CT of the knee", "1. a tear. 2. a cyst"),
    ("", "", None),
])  # fmt: skip
def test_a_caption_is_split_before_its_finding(caption: str, before: str, finding: str | None) -> None:
    assert split_finding(caption) == (before, finding)
    assert with_finding(before, None) == (before + "." if before else "")
    if finding and "showing" in caption or "abnormal" in caption:
        assert split_finding(with_finding(before, finding)) == (before, finding)


def test_what_speaks_for_each_candidate() -> None:
    beams = ["Axial CT of the head showing stroke.", "Axial CT of the head showing tumour.", "Axial CT of the head."]
    evidence = Evidence(beams, [0.0, 0.0, 0.0], [near(0.1, "abscess"), near(0.2, "stroke"), near(0.5, None)])
    assert evidence.finding_shares() == pytest.approx({"stroke": 1 / 3, "tumour": 1 / 3})
    found = {one.finding: one.evidence for one in candidates(STROKE, evidence.finding_shares(), evidence.cases)}
    assert set(found) == {"stroke", "tumour", "abscess"} and set(found["stroke"]) == {*FINDING_FEATURES, "beams"}
    assert found["stroke"]["written"] == 1 and found["abscess"]["written"] == 0
    assert found["abscess"]["near"] == pytest.approx(np.log(4))
    assert found["abscess"]["near"] > found["stroke"]["near"] > found["tumour"]["near"] == 0
    votes = np.exp(-np.array([0.1, 0.2, 0.5]) / 0.1)
    assert found["abscess"]["cases"] == pytest.approx(votes[0] / votes.sum())
    other = candidates(STROKE, {}, [near(0.01, "stroke", organ="chest"), near(0.01, "tumour", modality="mri")])
    assert all(one.evidence["near"] == 0 for one in other)  # a case of another kind or organ is none of this one
    assert len(candidates(STROKE, {}, [near(0.1 * n, f"finding {n}") for n in range(1, 9)])) == 5


def test_a_finding_that_nothing_bears_out_is_left_out(tmp_path: Path) -> None:
    judged = rule(tmp_path, 0.5).apply(record())
    assert judged["caption"] == "Axial CT of the head." and judged["written"] == STROKE
    assert judged["tokens"] == [" Axial", " CT", " of", " the", " head"] and len(judged["token_logprobs"]) == 5
    assert judged["finding_confidence"] is None and judged["findings"][0]["finding"] == "stroke"
    assert judged["findings"][0]["stated"] is False and 0 < judged["findings"][0]["probability"] < 0.5
    assert doubts_of(judged).text == "plane, kind, organ: 38 %; finding: not stated"


def test_a_finding_of_a_near_case_is_stated_in_its_place(tmp_path: Path) -> None:
    evidence = Evidence([STROKE], [0.0], [near(0.05, "brain abscess"), near(0.3, "stroke")])
    judged = rule(tmp_path, 0.5).apply(record(), evidence=evidence)
    assert judged["caption"] == "Axial CT of the head showing brain abscess."
    assert [one["finding"] for one in judged["findings"] if one["stated"]] == ["brain abscess"]
    assert judged["finding_confidence"] == judged["findings"][0]["probability"] > 0.9
    assert judged["tokens"] == [" Axial", " CT", " of", " the", " head"]  # the network's own
    assert judged["similar"][0] == {
        "text": "axial CT, head: brain abscess", "finding": "brain abscess", "distance": 0.05, "source": "case 0.05",
    }  # fmt: skip
    near_stroke = Evidence([STROKE], [0.0], [near(0.05, "stroke")])
    kept = rule(tmp_path, 0.5).apply(record(), evidence=near_stroke)
    assert kept["caption"] == STROKE and kept["tokens"] == record()["tokens"]


def test_always_and_never_and_no_threshold(tmp_path: Path) -> None:
    evidence = Evidence([STROKE], [0.0], [near(0.05, "stroke")])
    always = rule(tmp_path, None, findings="always").apply(record())
    assert always["caption"] == STROKE and always["findings"][0]["stated"] is True
    assert 0 < always["finding_confidence"] < 0.5 and "finding: 0 %" in doubts_of(always).text
    assert rule(tmp_path, 0.1, findings="never").apply(record(), evidence=evidence)["finding_confidence"] is None
    assert rule(tmp_path, None).apply(record(), evidence=evidence)["caption"] == "Axial CT of the head."
    own = rule(tmp_path, None, finding_threshold=0.5).apply(record(), evidence=evidence)
    assert own["caption"] == STROKE
    bare = ConfidenceRule().apply(record(), evidence=evidence)
    assert bare["caption"] == "Axial CT of the head." and bare["findings"][0]["probability"] is None
    assert doubts_of(bare).text == "plane, kind, organ: not calibrated; finding: not stated"


def test_always_states_a_likelier_finding_where_it_has_a_chance(tmp_path: Path) -> None:
    always = rule(tmp_path, None, findings="always")
    told = always.apply(record(), evidence=Evidence([STROKE], [0.0], [near(0.05, "brain abscess")]))
    assert told["caption"] == "Axial CT of the head showing brain abscess." and told["written"] == STROKE
    assert [one["finding"] for one in told["findings"] if one["stated"]] == ["brain abscess"]
    assert told["finding_confidence"] == told["findings"][0]["probability"] >= LIKELIER
    far = always.apply(record(), evidence=Evidence([STROKE], [0.0], [near(0.39, "brain abscess", organ="chest")]))
    assert far["findings"][0]["probability"] < LIKELIER and far["caption"] == STROKE
    unjudged = ConfidenceRule(findings="always").apply(record(), evidence=Evidence([STROKE], [0.0], [near(0.05, "x")]))
    assert unjudged["caption"] == STROKE
    assert always.spoken("Axial CT of the head showing str") == "Axial CT of the head"  # it may be another in the end


def test_words_that_were_given_are_not_taken_back(tmp_path: Path) -> None:
    given = record("CT of the chest showing effusion.", prompt="CT of the chest showing", tokens=[" effusion", ".", ""])
    judged = rule(tmp_path, 0.5).apply(given)
    assert judged["caption"] == given["caption"] and judged["tokens"] == given["tokens"]
    assert judged["findings"][0]["stated"] is True
    begun = record("CT of the chest showing effusion.", prompt="CT of", tokens=[" the", " chest", " showing", " x", ""])
    assert rule(tmp_path, 0.5).apply(begun)["tokens"] == [" the", " chest"]


def test_growing_captions_show_no_finding_yet() -> None:
    assert ConfidenceRule().spoken("Axial CT of the head showing str") == "Axial CT of the head"
    assert ConfidenceRule(findings="always").spoken("Axial CT of the head showing str").endswith("str")


def test_records_of_older_versions_keep_their_meaning() -> None:
    old = {"caption": STROKE, "confidence": 0.91, "calibrated_confidence": 0.4}
    assert doubts_of(old).kind == 0.4 and doubts_of(old).finding_text == "not calibrated"
    assert doubts_of({**old, "calibrated_confidence": None}).kind is None


def rows(count: int, helpful: bool, seed: int = 0) -> FindingRows:
    """Two candidates an image; where it helps, the near one is right."""
    random = np.random.default_rng(seed)
    features, right = np.zeros((2 * count, len(FINDING_FEATURES))), np.zeros(2 * count)
    image = np.repeat(np.arange(count), 2)
    features[::2, FINDING_FEATURES.index("written")] = 1
    close = random.random(count) < 0.3
    features[1::2, FINDING_FEATURES.index("near")] = np.where(close, 2.0, 0.0) if helpful else 0.0
    right[1::2] = (close & (random.random(count) < 0.9)) if helpful else 0.0
    return FindingRows(features, right, image, np.ones(count, bool), [f"g{n // 2}" for n in range(count)])


def test_the_threshold_makes_stated_findings_right_half_of_the_time() -> None:
    study = measure_findings({"group": rows(200, True)})
    assert study["finding_threshold"] is not None
    assert study["stated_findings_right"] >= 0.5 * study["findings_stated"] > 0
    assert study["finding_calibration_error"] < 0.05
    hopeless = measure_findings({"group": rows(200, False)})
    assert hopeless["finding_threshold"] is None and hopeless["findings_stated"] == 0


def test_a_threshold_must_hold_in_each_split() -> None:
    good = (np.linspace(0.1, 0.9, 9), np.ones(9))
    bad = (np.array([0.2, 0.65]), np.zeros(2))
    assert threshold_of([good]) == pytest.approx(0.1)
    assert threshold_of([(good[0], good[1]), bad]) is None  # above 0.65 only three would be stated
    assert threshold_of([(np.linspace(0.1, 0.9, 17), np.ones(17)), bad]) == pytest.approx(0.7)
    assert threshold_of([(good[0][:4], good[1][:4])]) is None


def test_chances_are_of_other_groups_alone() -> None:
    first = rows(60, True)
    changed = FindingRows(first.features, first.right.copy(), first.image, first.counts, first.groups)
    changed.right[:4] = 1 - changed.right[:4]  # both images of the first group
    one, other = (cross_fitted_findings({"group": each})["group"] for each in (first, changed))
    assert one[:4] == pytest.approx(other[:4]) and one[4:] != pytest.approx(other[4:])


def test_a_record_is_json(tmp_path: Path) -> None:
    evidence = Evidence([STROKE], [0.0], [near(0.05, "stroke")])
    json.dumps(rule(tmp_path, 0.5).apply(record(), evidence=evidence), allow_nan=False)


def test_similar_cases_speak_for_the_kind_too() -> None:
    cases = [near(0.05, None), near(0.05, None, modality="mri"), near(2.0, None, "mri", "chest")]
    judged = ConfidenceRule().apply(record(), evidence=Evidence([STROKE], [0.0], cases, seen=0.7))
    assert judged["similar_agreement"] == pytest.approx((1 + 2 / 3) / 2, abs=1e-4) and judged["seen"] == 0.7
    assert kind_evidence(judged).keys() == {"seen", "similar_agreement", "confidence"}
    assert ConfidenceRule().apply(record())["similar_agreement"] is None
