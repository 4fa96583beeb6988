"""Words said twice in a row: what is forbidden, and what only looks like it."""

from __future__ import annotations

import pytest
import torch
from tiny_language_models import END, PAD, VOCABULARY, prefixes, tiny_model

from scripts.errors import InputError
from scripts.generation import GenerationOptions, Generator
from scripts.generation.repeats import no_repeated_words

PIECES = ["Axial", " CT", " of", " the", " pelvis", ",", " p", "ancre", "as", " T", "1", " mur", "mur", " x", " ", "0"]


class Tokenizer:
    """Pieces of text, joined."""

    def decode(self, token_ids: list[int]) -> str:
        return "".join(PIECES[token] for token in token_ids)


class DropsFirstSpace(Tokenizer):
    """As tokenizers of the Llama family do."""

    def decode(self, token_ids: list[int]) -> str:
        return super().decode(token_ids).removeprefix(" ")


def forbidden(text: list[str], tokenizer: Tokenizer) -> set[str]:
    captions = torch.tensor([[PIECES.index(piece) for piece in text]], dtype=torch.int64).reshape(1, -1)
    scores = no_repeated_words(tokenizer)(captions, torch.zeros(1, len(PIECES)))
    return {PIECES[token] for token in torch.isinf(scores[0]).nonzero().flatten().tolist()}


@pytest.mark.parametrize("tokenizer", [Tokenizer(), DropsFirstSpace()])
@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ([], set()),
        (["Axial", " CT"], {" CT"}),
        ([" pelvis", ","], {" pelvis"}),  # "pelvis, pelvis"
        ([" of", " the", " of"], {" of", " the"}),  # "of the of the" and "of of"
        ([" p", "ancre", "as", ",", " p", "ancre"], {"as"}),  # a word of three tokens
        ([" p", "ancre", "as", " p"], {" p"}),
        ([" T", "1"], set()),  # "T11"
        ([" mur"], {" mur"}),
        ([" mur", "mur"], set()),
        ([" ", "1", "0", " x", " ", "1", "0"], set()),  # "10 x 10 x": a size
        ([" pelvis", " of", " the"], {" the"}),  # "the pelvis of the pelvis" is no repetition at once
    ],
)
def test_only_what_repeats_at_once_is_forbidden(tokenizer: Tokenizer, said: list[str], wanted: set[str]) -> None:
    assert forbidden(said, tokenizer) == wanted


def test_rows_are_independent_and_scores_are_not_written_to() -> None:
    rows = torch.tensor([[1, 4], [4, 5]])
    scores = torch.zeros(2, len(PIECES))
    found = no_repeated_words(Tokenizer())(rows, scores)
    assert torch.isinf(found).nonzero().tolist() == [[0, 4], [1, 4]]
    assert not torch.isinf(scores).any()


@pytest.mark.parametrize("beams", [1, 3])
def test_captions_of_a_stuck_model_do_not_loop(beams: int) -> None:
    """A random tied model says its last word for ever; every token here is a word of its own."""

    class Words:
        def decode(self, token_ids: list[int]) -> str:
            return "".join(f" w{token}" for token in token_ids)

    model = tiny_model("opt", early_end=False)
    with torch.no_grad():
        model.get_output_embeddings().weight.copy_(model.get_input_embeddings().weight[:, : model.config.hidden_size])
    generator = Generator(model, eos_token_id=END, pad_token_id=PAD, tokenizer=Words())
    plain, careful = (
        generator.generate(
            prefixes(3), None, GenerationOptions(max_new_tokens=12, num_beams=beams, no_repeated_words=on)
        ).token_ids
        for on in (False, True)
    )
    repeats = [(ids[:, 1:] == ids[:, :-1]) & (ids[:, 1:] != PAD) for ids in (plain, careful)]
    assert repeats[0].any() and not repeats[1].any()
    assert plain.max() < VOCABULARY


def test_it_needs_a_tokenizer() -> None:
    generator = Generator(tiny_model("opt"), eos_token_id=END, pad_token_id=PAD)
    with pytest.raises(InputError, match="no_repeated_words needs a tokenizer"):
        generator.generate(prefixes(1), None, GenerationOptions(no_repeated_words=True))
