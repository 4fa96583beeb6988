"""The same tokens as `transformers.generate` in float32, mode by mode, on tiny random models of four shapes."""

from __future__ import annotations

import pytest
import torch
from tiny_language_models import CONFIGS, END, PAD, left_padding, prefixes, reference, tiny_model

from scripts.generation import GenerationOptions, Generator

pytestmark = pytest.mark.parametrize("architecture", list(CONFIGS))

MODES = {
    "greedy": {},
    "greedy, no less than 9": {"min_new_tokens": 9},
    "greedy, repetition": {"repetition_penalty": 1.7},
    "greedy, bigrams": {"no_repeat_ngram_size": 2},
    "greedy, no token twice": {"no_repeat_ngram_size": 1},
    "2 beams": {"num_beams": 2},
    "5 beams": {"num_beams": 5},
    "5 beams, 3 captions": {"num_beams": 5, "num_return": 3},
    "5 beams, long": {"num_beams": 5, "length_penalty": 2.0},
    "5 beams, short": {"num_beams": 5, "length_penalty": -1.0},
    "5 beams, no length": {"num_beams": 5, "length_penalty": 0.0, "early_stopping": "never"},
    "5 beams, first five": {"num_beams": 5, "early_stopping": True},
    "5 beams, never early": {"num_beams": 5, "early_stopping": "never"},
    "5 beams, repetition": {"num_beams": 5, "repetition_penalty": 1.7, "length_penalty": 1.2},
    "5 beams, trigrams": {"num_beams": 5, "no_repeat_ngram_size": 3},
    "5 beams, no less than 9": {"num_beams": 5, "min_new_tokens": 9},
    "one token": {"num_beams": 5, "max_new_tokens": 1},
}


def values_for_transformers(mode: dict) -> dict:
    return {{"num_return": "num_return_sequences"}.get(name, name): value for name, value in mode.items()}


def check(model, prefix, mask, mode: dict, expected_mask=None, **generator) -> torch.Tensor:
    options = GenerationOptions(**{"max_new_tokens": 12, **mode})
    ours = Generator(model, eos_token_id=END, pad_token_id=PAD, **generator).generate(prefix, mask, options)
    theirs = reference(model, prefix, mask, **values_for_transformers(mode))
    assert torch.equal(ours.token_ids, theirs), f"ours\n{ours.token_ids}\ntransformers\n{theirs}"
    return ours


@pytest.mark.parametrize("mode", MODES, ids=lambda name: name.replace(" ", "_"))
def test_same_tokens(architecture: str, mode: str) -> None:
    model = tiny_model(architecture)
    check(model, prefixes(6), None, MODES[mode])


@pytest.mark.parametrize("mode", ["greedy", "5 beams", "5 beams, trigrams", "5 beams, first five"])
def test_same_tokens_with_left_padding(architecture: str, mode: str) -> None:
    model = tiny_model(architecture)
    check(model, prefixes(6), left_padding(6), MODES[mode])


@pytest.mark.parametrize("mode", ["greedy", "2 beams", "5 beams", "5 beams, repetition"])
def test_reordering_decoder_gives_the_same_tokens(architecture: str, mode: str) -> None:
    model = tiny_model(architecture)
    check(model, prefixes(6), None, MODES[mode], shared_prefix=False)


@pytest.mark.parametrize("mode", ["greedy", "5 beams"])
def test_suppressed_tokens_never_come(architecture: str, mode: str) -> None:
    model = tiny_model(architecture)
    free = check(model, prefixes(6), None, MODES[mode]).token_ids.unique().tolist()
    said = [token for token in free if token not in (END, PAD)]
    options = GenerationOptions(**{"max_new_tokens": 12, **MODES[mode]})
    generator = Generator(model, eos_token_id=END, pad_token_id=PAD, suppress_tokens=said[::2])
    found = generator.generate(prefixes(6), None, options).token_ids
    assert torch.equal(found, reference(model, prefixes(6), None, **MODES[mode], suppress_tokens=said[::2]))
    assert not set(found.unique().tolist()) & set(said[::2])


def test_ends_come_at_different_places(architecture: str) -> None:
    for mode in ("greedy", "5 beams"):
        ours = check(tiny_model(architecture), prefixes(8, seed=4), None, MODES[mode])
        assert len(ours.lengths.unique()) >= 3, "this check needs captions of several lengths"
        assert ours.lengths.min() < 6


def test_eager_attention_gives_the_same_tokens(architecture: str) -> None:
    model = tiny_model(architecture, attention="eager")
    check(model, prefixes(4), left_padding(4), MODES["5 beams"])


def test_captions_are_not_degenerate(architecture: str) -> None:
    """The comparisons above would prove nothing if every caption were the same token over and over."""
    options = GenerationOptions(max_new_tokens=12, num_beams=5)
    model = tiny_model(architecture, early_end=False)
    tokens = Generator(model, eos_token_id=END, pad_token_id=PAD).generate(prefixes(6), None, options).token_ids
    assert len(tokens.unique(dim=0)) == 6
    assert min(len(row.unique()) for row in tokens) >= 4


def test_several_end_tokens(architecture: str) -> None:
    model = tiny_model(architecture)
    ends = [END, 17, 40]
    options = GenerationOptions(max_new_tokens=12, num_beams=4, num_return=2)
    ours = Generator(model, eos_token_id=ends, pad_token_id=PAD).generate(prefixes(6), None, options)
    theirs = reference(model, prefixes(6), num_beams=4, num_return_sequences=2, eos_token_id=ends)
    assert torch.equal(ours.token_ids, theirs)
