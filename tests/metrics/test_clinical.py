"""Clinical scores: known answers, agreement with an independent labeller, and refusal for the wrong images."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from scripts.metrics.clinical import CLINICAL, CheXbertF1, RadGraphF1, clinical_scores
from scripts.metrics.clinical.chest_findings import chest_findings, f1_statistics
from scripts.metrics.clinical.negation import clauses, status_at, words_of
from scripts.metrics.clinical.radgraph import radgraph_f1
from scripts.metrics.pairs import Item, Pairs, match

radlabels = importlib.util.find_spec("radlabels")
needs_phrases = pytest.mark.skipif(radlabels is None, reason="the phrases of radlabels are not installed")


def pairs_of(predictions: list[str], references: list[str], **record: str) -> Pairs:
    images = [f"{n}.png" for n in range(len(references))]
    made = [Item(i, (p,)) for i, p in zip(images, predictions, strict=True)]
    true = [Item(i, (r,), None, record.get("modality"), record) for i, r in zip(images, references, strict=True)]
    return match(made, true)


@pytest.mark.parametrize(
    ("text", "phrase", "status"),
    [
        ("Large effusion.", "effusion", "present"),
        ("No pneumothorax or effusion.", "effusion", "absent"),
        ("There is no effusion", "effusion", "absent"),
        ("No pneumothorax, but a small effusion.", "effusion", "present"),
        ("Effusion has resolved.", "effusion", "absent"),
        ("Possible effusion.", "effusion", "uncertain"),
        ("Effusion cannot be excluded.", "effusion", "uncertain"),
        ("No change in the effusion.", "effusion", "present"),
        ("Clear lungs. Effusion on the left.", "effusion", "present"),
        ("No evidence of pneumonia. Effusion.", "effusion", "present"),
    ],
)
def test_negation(text: str, phrase: str, status: str) -> None:
    sentence = next(part for part in clauses(words_of(text)) if phrase in part)
    start = sentence.index(phrase)
    assert status_at(sentence, start, start + 1) == status


@needs_phrases
def test_findings_with_words_between_and_plurals() -> None:
    report = "Heart is mildly enlarged. Small bilateral pleural effusions. No pneumothorax. Possible pneumonia."
    found = chest_findings(report)
    assert found["cardiomegaly"] == "present" and found["pleural_effusion"] == "present"
    assert found["pneumothorax"] == "absent" and found["pneumonia"] == "uncertain"
    assert chest_findings("") == {}


@needs_phrases
def test_findings_agree_with_radgraph_on_synthetic_reports() -> None:
    """The package ships 1,000 reports that RadGraph and its own matcher labelled: micro F1 0.91 on 150 of them."""
    folder = Path(next(iter(radlabels.submodule_search_locations))) / "samples"
    labels = json.loads((folder / "synthetic_labels.json").read_text())
    texts = json.loads((folder / "synthetic_matches.json").read_text())
    hits = wrong = 0
    for name in list(labels)[:150]:
        found = {finding for finding, status in chest_findings(texts[name]["text"]).items() if status != "absent"}
        true = {finding for finding, status in labels[name].items() if status != "definitely absent"}
        hits, wrong = hits + len(found & true), wrong + len(found ^ true)
    assert 2 * hits / (2 * hits + wrong) > 0.88


def test_micro_and_macro_f1_by_hand() -> None:
    found = np.array([[1, 1, 0], [0, 0, 0]], bool)
    true = np.array([[1, 0, 0], [1, 0, 0]], bool)
    micro, macro = f1_statistics(found, true, "x")
    assert micro.value == pytest.approx(2 / 4)  # one hit, one invented, one missed
    assert macro.value == pytest.approx((2 / 3 + 0) / 2)  # the third label is named by nobody


@needs_phrases
def test_the_score_sees_chest_films_only_and_says_how_many() -> None:
    films = pairs_of(
        ["No pleural effusion.", "Pleural effusion."], ["Pleural effusion."] * 2, modality="XR", body_part="CHEST"
    )
    statistics, refused = clinical_scores(["chest-findings"], films)
    assert not refused and statistics[0].value == pytest.approx(2 / 3)
    assert "chest radiographs, 2 of 2 images" in statistics[0].note
    brain = pairs_of(["Axial MRI of the head."], ["Axial MRI of the head."])
    statistics, refused = clinical_scores(["chest-findings"], brain)
    assert not statistics
    assert "valid for chest radiographs only, and none of the 1 images is one" in refused["chest-findings"]
    told = pairs_of(["x", "y"], ["PA plain-film X-ray of the chest showing effusion.", "Axial CT of the chest."])
    assert CLINICAL["chest-findings"].applies(told, 0) and not CLINICAL["chest-findings"].applies(told, 1)


def entity(tokens: str, label: str, *relations: tuple[str, str]) -> dict[str, object]:
    return {"tokens": tokens, "label": label, "relations": [list(relation) for relation in relations]}


def test_radgraph_f1_by_hand() -> None:
    first = {"entities": {"1": entity("effusion", "OBS-DP", ("located_at", "2")), "2": entity("left", "ANAT")}}
    second = {"entities": {"1": entity("effusion", "OBS-DP"), "2": entity("left", "ANAT")}}
    assert radgraph_f1(first, first) == (1, 1, 1)
    assert radgraph_f1(first, second) == pytest.approx((1, 0.5, 0.5))
    assert radgraph_f1(first, {"entities": {}}) == (0, 0, 0)
    films = pairs_of(["a", ""], ["b", "c"], modality="CR", body_part="CHEST")
    score = RadGraphF1(annotate=lambda reports: [first if text in ("a", "") else second for text in reports])
    assert [statistic.value for statistic in score.score(films.predictions, films.first_references)] == [
        0.5,
        0.25,
        0.25,
    ]


def test_chexbert_f1_by_hand() -> None:
    labels = {"a": [1] + [0] * 13, "b": [1, 1] + [0] * 12}
    micro14, _, micro5, _ = CheXbertF1(label=labels.__getitem__).score(["a"], ["b"])
    assert micro14.value == pytest.approx(2 / 3) and micro5.value == 0


def test_without_package_or_weights_a_score_says_what_is_missing() -> None:
    for score in (RadGraphF1(), CheXbertF1()):
        if (reason := score.why_not()) is not None:
            assert reason.startswith("it needs")
