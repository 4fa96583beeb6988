"""The words of a prompt are part of the caption, and of everything that is made of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import tiny_blip2 as tiny
from scripts.captioning import CaptionedBatch, caption_batch
from scripts.concepts.familiarity import UNFAMILIAR
from scripts.confidence import ConfidenceRule
from scripts.networks.caption_network import CaptionNetwork
from scripts.networks.prompts import Prompt, continued, spoken
from scripts.outputs.dicom.document import Draft
from scripts.outputs.record import captioned_case


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> CaptionNetwork:
    theirs = tiny.captioner_of_transformers()
    folder = tmp_path_factory.mktemp("blip2")
    theirs.save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return tiny.captioner(theirs, folder, prompt="w7 w8").eval()


def made_of(network: CaptionNetwork, prompts: str | list[str] | None = None, **asked: object) -> CaptionedBatch:
    image = torch.rand(2, 3, 28, 28, generator=torch.Generator().manual_seed(3))
    return caption_batch(network, image, prompts=prompts, **asked)


def record_of(made: CaptionedBatch, row: int = 0) -> dict:
    options = {"row": row, "of": 2, "provenance": {}, "rule": ConfidenceRule()}
    return dict(captioned_case("a.png", None, made, meta=None, **options).record)


def test_captions_and_reports_begin_with_the_words_of_the_prompt(network: CaptionNetwork) -> None:
    made = made_of(network, ["w9 w10", "w11"])
    written = network.decode(made.token_ids)
    assert all(written), "the tiny network is meant to write something"
    assert made.captions == [f"w9 w10 {written[0]}", f"w11 {written[1]}"]
    record = record_of(made)
    assert record["caption"] == made.captions[0] and record["prompt"] == "w9 w10"
    assert Draft.of(record).text == made.captions[0]


def test_what_was_given_is_no_word_of_the_network(network: CaptionNetwork) -> None:
    """Tokens, their probabilities and what is explained are of generated words alone."""
    made = made_of(network, "w9", explain=True)
    record, lengths = record_of(made), made.lengths.tolist()
    assert len(record["tokens"]) == len(record["token_logprobs"]) == lengths[0]
    words = "".join(record["tokens"]).split()
    assert record["caption"].split() == ["w9", *words]
    assert list(made.explanations[0].words) == words


def test_a_question_is_no_part_of_the_answer_but_first_words_of_a_call_are(
    network: CaptionNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "prompt", replace(network.prompt, is_spoken=False))
    asked = made_of(network)
    assert asked.captions == network.decode(asked.token_ids) and asked.prompts == ["", ""]
    assert record_of(asked)["prompt"] == ""
    assert made_of(network, "w7 w8").captions == asked.captions  # as a trace names it
    given = made_of(network, "w9 w10")
    assert all(caption.startswith("w9 w10 ") for caption in given.captions)


def test_several_captions_of_an_image_begin_alike(network: CaptionNetwork) -> None:
    ids = torch.tensor([[20], [21], [22], [23]])
    assert network.captions(ids, [Prompt("w9"), Prompt("w10")]) == ["w9 w20", "w9 w21", "w10 w22", "w10 w23"]


def test_marks_are_no_words_and_unknown_words_stay() -> None:
    tokenizer = tiny.tokenizer()
    mark = tokenizer.eos_token
    assert spoken(f"{mark}w4  w5 ", tokenizer) == "w4 w5"
    assert continued(f"{mark}w4 w5", [20, tiny.END, tiny.PAD], tokenizer) == "w4 w5 w20"
    assert continued("with no", [20], tokenizer) == "with no w20"
    assert continued(mark, [20], tokenizer) == "w20"


def test_samples_are_compared_with_what_the_network_wrote() -> None:
    said = {"caption": "CT with no effusion", "prompt": "CT with no"}
    record = {**said, "token_confidence": 0.5, "tokens": [" effusion"]}
    assert ConfidenceRule().apply(record, ["effusion"])["agreement"] == 1.0


def test_images_that_are_withheld_leave_the_others_as_they_are(
    network: CaptionNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two images the first or both look strange; prompts, watched words, samples and maps follow their rows."""
    asked = {"prompts": ["w9", "w10"], "samples": 2, "explain": "attention"}
    usual = made_of(network, **asked)
    for strange in ([True, False], [True, True]):
        monkeypatch.setattr(network, "strange", lambda encoded, strange=strange: strange)
        seen: dict[int, str] = {}
        made = made_of(network, **asked, written=seen.update)
        for row, withheld in enumerate(strange):
            assert made.captions[row] == ("" if withheld else usual.captions[row])
            assert made.withheld[row] == (UNFAMILIAR if withheld else None)
            assert (made.explanations[row] is None) == withheld and len(made.samples[row]) == (0 if withheld else 2)
            assert made.words[row] == ([] if withheld else usual.words[row]) and (row in seen) != withheld
        assert len(made.encoded["general"][0]) == len(made.token_ids) == 2
        assert made_of(network, **asked, anything=True).captions == usual.captions
