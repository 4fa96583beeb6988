"""Caption clean-up and tokenizing."""

from __future__ import annotations

import pytest
import torch
from monai.data import decollate_batch

from scripts.captioning import CaptionedBatch
from scripts.confidence import ConfidenceRule
from scripts.transforms.captions import DecodeCaptiond, TokenizeCaptiond, clean_caption


class Letters:
    """A stand-in tokenizer: one id a character."""

    eos_token_id = 99

    def __call__(self, text: str, **options: object) -> dict[str, list[int]]:
        ids = [ord(letter) % 90 for letter in text]
        if options.get("truncation"):
            ids = ids[: options["max_length"]]
        return {"input_ids": ids}


def test_keep_leaves_sides_numbers_and_brackets() -> None:
    text = "Left  3.5 cm nodule (RUL), \n see #2."
    assert clean_caption(text) == "Left 3.5 cm nodule (RUL), see #2."


def test_paper_does_what_the_official_processor_does() -> None:
    assert clean_caption("MRI (T1): Left, 3.5 cm!", style="paper") == "mri t1 left, 3 5 cm"
    assert clean_caption("one two three four", style="paper", max_words=2) == "one two"


def test_unknown_style_is_refused() -> None:
    with pytest.raises(ValueError, match="papier"):
        clean_caption("x", style="papier")


def test_the_end_token_survives_truncation() -> None:
    transform = TokenizeCaptiond("caption", tokenizer=Letters(), max_tokens=6)
    assert transform({"caption": "abcdefghijkl"})["input_ids"].tolist()[-1] == 99
    assert len(transform({"caption": "abcdefghijkl"})["input_ids"]) == 6
    assert transform({"caption": "ab"})["input_ids"].tolist() == [ord("a") % 90, ord("b") % 90, 99]


def test_a_caption_whose_finding_is_not_known_is_left_open() -> None:
    transform = TokenizeCaptiond("caption", tokenizer=Letters(), max_tokens=6)
    open_ended = {"caption": "ab.", "fields": {"organ": "head", "abnormality": None}}
    assert transform(open_ended)["input_ids"].tolist() == [ord("a") % 90, ord("b") % 90]
    for fields in ({"abnormality": "no abnormality"}, {"organ": "head"}, {}, None):
        assert transform({**open_ended, "fields": fields})["input_ids"].tolist()[-2:] == [ord(".") % 90, 99]
    text_encoder = TokenizeCaptiond("caption", tokenizer=Letters(), max_tokens=6, append_end=False)
    assert len(text_encoder(open_ended)["input_ids"]) == 1  # its tokenizer's end, here "b", is left out


def test_special_tokens_of_the_text_encoder_are_kept() -> None:
    transform = TokenizeCaptiond("caption", tokenizer=Letters(), max_tokens=4, append_end=False)
    assert len(transform({"caption": "abcdef"})["input_ids"]) == 4


def test_what_an_inferer_gives_is_taken_apart_by_monai_and_told_without_findings() -> None:
    """As a host does that runs a bundle by its parts: inferer, ``decollate_batch``, ``postprocessing``."""
    texts = ["Axial CT of the head showing a mass.", "Frontal X-ray of the chest.", ""]
    none = torch.zeros(3, 0)
    why = [None, None, "no medical image"]
    made = CaptionedBatch(none.long(), none, torch.zeros(3), texts, [""] * 3, [[]] * 3, {}, withheld=why)
    rows = decollate_batch({"pred": made.token_ids, "captioned": made})
    assert len(rows) == 3

    def told(**values: str) -> list[str]:
        decode = DecodeCaptiond("pred", network=None, rule=ConfidenceRule(**values))
        return [decode({"pred": row})["pred"] for row in rows]

    withheld = "withheld: no medical image"
    assert told() == ["Axial CT of the head.", "Frontal X-ray of the chest.", withheld]
    assert told(findings="always") == [*texts[:2], withheld]


def test_token_ids_alone_are_decoded_by_the_network() -> None:
    class Network:
        def captions(self, ids: torch.Tensor) -> list[str]:
            return ["-".join(map(str, row)) for row in ids.tolist()]

    assert DecodeCaptiond("pred", network=Network())({"pred": torch.tensor([4, 7])})["pred"] == "4-7"
