"""BLEU, ROUGE, CIDEr-D and METEOR equal pycocoevalcap, sacrebleu and rouge-score to 1e-4 under the same tokens."""

from __future__ import annotations

import numpy as np
import pytest
from caption_pairs import FIVE, generated

from scripts.metrics.bleu import bleu
from scripts.metrics.cider import cider_d
from scripts.metrics.meteor import meteor, why_no_meteor
from scripts.metrics.protocols import imageclef_text, protocol, rouge_words
from scripts.metrics.ptb import coco_tokens
from scripts.metrics.rouge import rouge_1, rouge_l, rouge_l_score
from scripts.metrics.scores import TEXT, Captions, Extras
from scripts.metrics.scoring import score_captions

SETS = {"five": FIVE, "thousand": generated(1000)}
TOLERANCE = 1e-4


@pytest.fixture(params=SETS)
def pairs(request: pytest.FixtureRequest) -> list[tuple[str, list[str]]]:
    return SETS[request.param]


def _tokens(pairs: list) -> tuple[list[list[str]], list[list[list[str]]]]:
    return [coco_tokens(c) for c, _ in pairs], [[coco_tokens(r) for r in references] for _, references in pairs]


def _as_coco(pairs: list) -> tuple[dict, dict]:
    candidates, references = _tokens(pairs)
    results = {i: [" ".join(c)] for i, c in enumerate(candidates)}
    truth = {i: [" ".join(r) for r in group] for i, group in enumerate(references)}
    return truth, results


def test_bleu_equals_pycocoevalcap(pairs: list) -> None:
    module = pytest.importorskip("pycocoevalcap.bleu.bleu")
    expected, each = module.Bleu(4).compute_score(*_as_coco(pairs), verbose=0)
    ours = bleu(*_tokens(pairs))
    np.testing.assert_allclose([s.value for s in ours], expected, atol=1e-9)
    np.testing.assert_allclose(ours[3].per_image, each[3], atol=1e-6)


def test_bleu_equals_sacrebleu_on_the_same_tokens() -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    pairs = [(candidate, references[:1]) for candidate, references in SETS["thousand"]]
    candidates, references = _tokens(pairs)
    expected = sacrebleu.corpus_bleu(
        [" ".join(c) for c in candidates], [[" ".join(r[0]) for r in references]], tokenize="none", force=True
    )
    assert bleu(candidates, references)[3].value == pytest.approx(expected.score / 100, abs=TOLERANCE)


def test_rouge_l_equals_pycocoevalcap(pairs: list) -> None:
    module = pytest.importorskip("pycocoevalcap.rouge.rouge")
    truth, results = _as_coco(pairs)
    expected, each = module.Rouge().compute_score(truth, results)
    ours = rouge_l(*_tokens(pairs))
    assert ours.value == pytest.approx(expected, abs=1e-9)
    np.testing.assert_allclose(ours.per_image, each, atol=1e-9)


def test_rouge_equals_rouge_score(pairs: list) -> None:
    scorer_module = pytest.importorskip("rouge_score.rouge_scorer")
    scorer = scorer_module.RougeScorer(["rouge1", "rougeL"], use_stemmer=False)
    candidates = [rouge_words(c) for c, _ in pairs]
    references = [[rouge_words(references[0])] for _, references in pairs]
    expected = [scorer.score(references[0], c) for c, references in pairs]
    ones = [e["rouge1"].fmeasure for e in expected]
    np.testing.assert_allclose(rouge_1(candidates, references).per_image, ones, atol=1e-9)
    longest = rouge_l(candidates, references, beta=1.0).per_image
    np.testing.assert_allclose(longest, [e["rougeL"].fmeasure for e in expected], atol=1e-9)


def test_cider_d_equals_pycocoevalcap(pairs: list) -> None:
    module = pytest.importorskip("pycocoevalcap.cider.cider")
    expected, each = module.Cider().compute_score(*_as_coco(pairs))
    ours = cider_d(*_tokens(pairs))
    assert ours.value == pytest.approx(expected, abs=1e-6)
    np.testing.assert_allclose(ours.per_image, each, atol=1e-6)


def test_cider_d_of_one_image_is_zero() -> None:
    assert cider_d([["a", "mass"]], [[["a", "mass"]]]).value == 0


def test_meteor_equals_pycocoevalcap() -> None:
    """All pairs in one corpus: the program takes seconds to start."""
    reason = why_no_meteor()
    if reason:
        pytest.skip(reason)
    from pycocoevalcap.meteor.meteor import Meteor

    pairs = [pair for pairs in SETS.values() for pair in pairs]
    expected, each = Meteor().compute_score(*_as_coco(pairs))
    ours = meteor(*_tokens(pairs))
    assert ours.value == pytest.approx(expected, abs=1e-6)
    np.testing.assert_allclose(ours.per_image, each, atol=1e-6)


def test_imageclef_preprocessing_in_its_order() -> None:
    assert imageclef_text("A 3.5 cm (T2-weighted) mass, 3×4.") == "a numbernumber cm tnumberweighted mass number×number"
    assert protocol("imageclef").tokens("L4/L5") == ["lnumberlnumber"]


def test_imageclef_rouge_equals_rouge_score_on_prepared_text() -> None:
    scorer_module = pytest.importorskip("rouge_score.rouge_scorer")
    scorer = scorer_module.RougeScorer(["rouge1"], use_stemmer=False)
    pairs = [(candidate, references[:1]) for candidate, references in SETS["thousand"]]
    candidates, references = [c for c, _ in pairs], [r for _, r in pairs]
    scores = score_captions(Captions(candidates, references, protocol("imageclef"), extras=Extras(meteor=False)))
    ours = scores.statistics()["ROUGE-1"].value
    expected = [scorer.score(imageclef_text(r[0]), imageclef_text(c))["rouge1"].fmeasure for c, r in pairs]
    assert ours == pytest.approx(np.mean(expected), abs=1e-9)
    assert "METEOR" in scores.skipped


def test_empty_candidates_score_zero() -> None:
    assert rouge_l_score([], [["a"]]) == 0
    captions = Captions(["", "a mass"], [["a mass"], ["a cyst"]], protocol("coco"), extras=Extras(meteor=False))
    statistics = score_captions(captions).groups[TEXT]
    assert all(np.isfinite(s.value) for s in statistics)
    assert next(s for s in statistics if s.name == "ROUGE-1").per_image[0] == 0
