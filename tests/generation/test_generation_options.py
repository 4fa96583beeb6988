"""Options and prefixes that cannot be used are refused in one sentence; lengths, stop strings and types hold."""

from __future__ import annotations

import pytest
import torch
from tiny_language_models import CONFIGS, END, PAD, VOCABULARY, prefixes, reference, tiny_model
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from scripts.errors import InputError
from scripts.generation import GenerationOptions, Generator


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"min_new_tokens": 41}, "min_new_tokens"),
        ({"num_beams": 0}, "num_beams"),
        ({"num_return": 2}, "num_return"),
        ({"num_return": 4, "num_beams": 3, "do_sample": True}, "num_return"),
        ({"repetition_penalty": 0.0}, "repetition_penalty"),
        ({"no_repeat_ngram_size": -1}, "no_repeat_ngram_size"),
        ({"temperature": 0.0, "do_sample": True}, "temperature"),
        ({"top_k": -1}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"num_beams": 5, "num_beam_groups": 2}, "groups"),
        ({"num_beams": 4, "num_beam_groups": 2, "do_sample": True}, "num_beam_groups"),
        ({"diversity_penalty": 1.0}, "diversity_penalty"),
        ({"early_stopping": "sometimes"}, "early_stopping"),
        ({"stop_strings": ("",)}, "stop string"),
    ],
)
def test_options_that_do_not_fit_are_refused(values: dict, named: str) -> None:
    with pytest.raises(InputError, match=named):
        GenerationOptions(**values)


@pytest.mark.parametrize(
    ("prefix", "mask", "said"),
    [
        (torch.zeros(4, 32), None, "shape"),
        (torch.zeros(0, 4, 32), None, "shape"),
        (torch.zeros(2, 4, 32), torch.ones(2, 5), "mask"),
        (torch.zeros(2, 4, 32), torch.tensor([[1, 1, 1, 1], [0, 0, 0, 0]]), r"\[1\]"),
        (torch.full((1, 4, 32), torch.nan), None, "finite"),
        (torch.zeros(1, 100, 32), None, "128 positions"),
    ],
)
def test_prefixes_that_cannot_be_used_are_refused(prefix, mask, said: str) -> None:
    generator = Generator(tiny_model("opt"), eos_token_id=END, pad_token_id=PAD)
    with pytest.raises(InputError, match=said):
        generator.generate(prefix, mask, GenerationOptions())


def test_beams_are_not_streamed() -> None:
    generator = Generator(tiny_model("opt"), eos_token_id=END, pad_token_id=PAD)
    with pytest.raises(InputError, match="num_beams"):
        next(generator.stream(prefixes(1), None, GenerationOptions(num_beams=2)))


@pytest.mark.parametrize("beams", [1, 3])
def test_lengths_count_new_tokens_and_shapes_are_fixed(beams: int) -> None:
    generator = Generator(tiny_model("gpt2"), eos_token_id=END, pad_token_id=PAD)
    found = generator.generate(
        prefixes(6), None, GenerationOptions(max_new_tokens=11, min_new_tokens=4, num_beams=beams)
    )
    assert found.token_ids.shape == found.token_logprobs.shape == (6, 11)
    assert found.token_ids.dtype == torch.int64
    assert ((found.lengths >= 5) & (found.lengths <= 11)).all()  # the end token comes after at least 4 others
    for row, length in enumerate(found.lengths):
        assert (found.token_ids[row, : length - 1] != END).all()
        assert length == 11 or found.token_ids[row, length - 1] == END


def test_no_end_token() -> None:
    found = Generator(tiny_model("gpt2"), eos_token_id=None, pad_token_id=PAD).generate(
        prefixes(3), None, GenerationOptions(max_new_tokens=8, num_beams=2)
    )
    assert (found.lengths == 8).all()


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """Token i is the two letters of i in base 26, so stop strings may also lie across tokens."""
    words = {chr(97 + i // 26) + chr(97 + i % 26): i for i in range(VOCABULARY)}
    inner = Tokenizer(models.WordLevel(words, unk_token="aa"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(".."), "isolated")
    inner.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=inner, clean_up_tokenization_spaces=False)


@pytest.mark.parametrize("architecture", list(CONFIGS))
@pytest.mark.parametrize("beams", [1, 4])
@pytest.mark.parametrize("across", [False, True])
def test_stop_strings_end_captions_where_transformers_ends_them(architecture, beams, across, tokenizer) -> None:
    model = tiny_model(architecture, early_end=False)
    generator = Generator(model, eos_token_id=END, pad_token_id=PAD, tokenizer=tokenizer)
    free = generator.generate(prefixes(4), None, GenerationOptions(max_new_tokens=10, num_beams=beams))
    texts = [tokenizer.decode(row) for row in free.token_ids.tolist()]
    strings = tuple(text[5:8] if across else text[6:8] for text in texts[:2])
    options = GenerationOptions(max_new_tokens=10, num_beams=beams, stop_strings=strings)
    found = generator.generate(prefixes(4), None, options)
    theirs = reference(
        model, prefixes(4), max_new_tokens=10, num_beams=beams, stop_strings=list(strings), tokenizer=tokenizer
    )
    assert torch.equal(found.token_ids, theirs)
    assert beams > 1 or (found.lengths[:2] <= 4).all()


def test_stop_strings_need_a_tokenizer() -> None:
    generator = Generator(tiny_model("opt"), eos_token_id=END, pad_token_id=PAD)
    with pytest.raises(InputError, match="tokenizer"):
        generator.generate(prefixes(1), None, GenerationOptions(stop_strings="\n"))


@pytest.mark.parametrize("architecture", list(CONFIGS))
@pytest.mark.parametrize("beams", [1, 3])
def test_bfloat16_follows_the_float32_distribution(architecture: str, beams: int) -> None:
    """bfloat16 tokens may differ; their float32 probability may not be much lower."""
    model, prefix = tiny_model(architecture), prefixes(6)
    options = GenerationOptions(max_new_tokens=8, num_beams=beams)
    exact = Generator(model, eos_token_id=END, pad_token_id=PAD).generate(prefix, None, options)
    found = Generator(model.bfloat16(), eos_token_id=END, pad_token_id=PAD).generate(prefix, None, options)
    assert found.token_logprobs.dtype == torch.float32
    assert abs(found.sequence_scores.mean() - exact.sequence_scores.mean()) < 0.15


def test_autocast() -> None:
    model, options = tiny_model("llama").requires_grad_(False), GenerationOptions(max_new_tokens=6, num_beams=3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = Generator(model, eos_token_id=END, pad_token_id=PAD).generate(prefixes(3), None, options)
    exact = Generator(model, eos_token_id=END, pad_token_id=PAD).generate(prefixes(3), None, options)
    assert abs(found.sequence_scores.mean() - exact.sequence_scores.mean()) < 0.15


def test_dropout_is_off_and_training_mode_comes_back() -> None:
    model = tiny_model("opt").train()
    generator = Generator(model, eos_token_id=END, pad_token_id=PAD)
    options = GenerationOptions(max_new_tokens=8, num_beams=3)
    first = generator.generate(prefixes(3), None, options)
    assert model.training
    assert torch.equal(first.token_ids, generator.generate(prefixes(3), None, options).token_ids)
    assert torch.equal(first.token_ids, reference(model.eval(), prefixes(3), max_new_tokens=8, num_beams=3))
