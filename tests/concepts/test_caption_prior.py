"""How common captions are: against counts by hand, a sum to one, and what a file may hold."""

from __future__ import annotations

import math

import pytest
import torch

from scripts.concepts import prior as caption_prior
from scripts.concepts.prior import END, FLOOR, START, UNHEARD, CaptionPrior

CAPTIONS = ["A cyst of the head.", "A cyst of the spine.", "A bleed of the head.", "A cyst."]
WORDS = ["a", "cyst", "of", "the", "head", "spine", "bleed", END]


@pytest.fixture
def prior() -> CaptionPrior:
    return CaptionPrior.from_captions(CAPTIONS)


def test_a_probability_is_that_of_the_counts(prior: CaptionPrior) -> None:
    """Witten and Bell by hand: 21 words with their ends, 8 kinds; "cyst" three times in four after "<start> a"."""
    uniform = 1 / 8
    one = (3 + 8 * uniform) / (21 + 8)
    two = (3 + 2 * one) / (4 + 2)
    three = (3 + 2 * two) / (4 + 2)
    assert prior.probability("cyst", [START, "a"]) == pytest.approx(three)
    assert prior.probability("cyst", ["never", "heard"]) == pytest.approx(one)
    assert prior.probability("never", ["never", "heard"]) == pytest.approx(8 * uniform / 29)


@pytest.mark.parametrize("before", [[START, START], [START, "a"], ["of", "the"], ["cyst", "of"], ["un", "known"]])
def test_probabilities_sum_to_one(prior: CaptionPrior, before: list[str]) -> None:
    assert sum(prior.probability(word, before) for word in WORDS) == pytest.approx(1)


def test_the_end_of_a_caption_whose_finding_is_not_known_does_not_count() -> None:
    known = CaptionPrior.from_captions(CAPTIONS)
    unknown = CaptionPrior.from_captions(
        [*CAPTIONS, *["A cyst of the head."] * 20], [None] * 4 + [{"abnormality": None}] * 20
    )
    before = ["the", "head"]
    assert unknown.probability(END, before) == pytest.approx(known.probability(END, before), abs=0.1)
    counted = CaptionPrior.from_captions([*CAPTIONS, *["A cyst of the head."] * 20])
    assert counted.probability(END, before) > unknown.probability(END, before)


def test_a_caption_is_the_sum_over_its_words_with_its_end(prior: CaptionPrior) -> None:
    said = [START, START, "a", "cyst", "of", "the", "head", END]
    expected = sum(math.log(prior.probability(said[n], said[n - 2 : n])) for n in range(2, len(said)))
    assert prior.logprob("A cyst of the head.", True) == pytest.approx(expected)
    assert prior.logprob("A cyst of the hea", False) == pytest.approx(
        sum(math.log(prior.probability(said[n], said[n - 2 : n])) for n in range(2, 6))
    )
    assert prior.logprob("", False) == 0.0
    assert prior.logprob("A cyst of the head.", True) > prior.logprob("A bleed of the head.", True)


def test_rare_words_count_down_to_the_floor_and_unheard_ones_against_the_caption(prior: CaptionPrior) -> None:
    many = CaptionPrior.from_captions([f"word{number} alone" for number in range(200)])
    assert many.logprob("word1 ", False) == FLOOR > math.log(1 / 200)
    alone = math.log(many.probability("alone", [START, "word1"]))
    assert many.logprob("word1 alone ", False) == pytest.approx(FLOOR + alone)
    assert many.logprob("word1 xx yy zz ", False) == FLOOR + 3 * UNHEARD
    begun = prior.logprob("A ", False)  # which "head", "of" and "cyst" never follow in this order
    assert prior.logprob("A head of cyst ", False) == pytest.approx(begun + 3 * UNHEARD)
    assert UNHEARD > 0 >= FLOOR


def test_what_was_judged_is_kept_within_a_bound_and_forgetting_changes_nothing(
    prior: CaptionPrior, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"A cyst of the head {number} of the spine" for number in range(50)]
    expected = [CaptionPrior.from_captions(CAPTIONS).logprob(text, True) for text in texts]
    monkeypatch.setattr(caption_prior, "KEPT", 12)  # less than one and a half captions: forgotten in mid-sentence
    assert [prior.logprob(text, True) for text in texts] == expected
    assert len(prior._known) <= 12


def test_tensors_hold_all_of_it_and_no_words(prior: CaptionPrior) -> None:
    state = prior.state()
    assert all(value.dtype == torch.int64 for value in state.values())
    again = CaptionPrior.from_state(state)
    for caption in (*CAPTIONS, "A bleed of the spine.", "Nothing."):
        assert again.logprob(caption, True) == prior.logprob(caption, True)
    with pytest.raises(KeyError):
        CaptionPrior.from_state({name: value for name, value in state.items() if name != "kinds"})
