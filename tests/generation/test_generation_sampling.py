"""Sampling: the same draws as transformers, the model's distribution, independence from the batch, streaming."""

from __future__ import annotations

import pytest
import torch
from naive_search import next_logprobs
from scipy import stats
from tiny_language_models import CONFIGS, END, PAD, prefixes, reference, tiny_model
from torch import nn

from scripts.generation import GenerationOptions, Generator

MODES = {
    "plain": {},
    "temperature": {"temperature": 0.6},
    "top_k": {"top_k": 7, "temperature": 1.4},
    "top_p": {"top_p": 0.7},
    "all": {"top_k": 20, "top_p": 0.9, "temperature": 1.3, "repetition_penalty": 1.4, "min_new_tokens": 3},
}


def generator(model) -> Generator:
    return Generator(model, eos_token_id=END, pad_token_id=PAD)


@pytest.mark.parametrize("architecture", list(CONFIGS))
@pytest.mark.parametrize("mode", MODES)
def test_same_draws_as_transformers(architecture: str, mode: str) -> None:
    model, prefix = tiny_model(architecture), prefixes(4)
    torch.manual_seed(11)
    options = GenerationOptions(do_sample=True, num_return=3, max_new_tokens=9, **MODES[mode])
    ours = generator(model).generate(prefix, None, options)
    torch.manual_seed(11)
    theirs = reference(model, prefix, do_sample=True, num_return_sequences=3, max_new_tokens=9, **MODES[mode])
    assert torch.equal(ours.token_ids, theirs)
    assert len(ours.token_ids.unique(dim=0)) > 4, "captions of one image must differ"


@pytest.mark.parametrize("architecture", list(CONFIGS))
def test_same_draws_as_transformers_with_beams(architecture: str) -> None:
    model, prefix = tiny_model(architecture), prefixes(4)
    values = {"do_sample": True, "num_beams": 3, "max_new_tokens": 9, "top_k": 30, "temperature": 1.2}
    torch.manual_seed(11)
    ours = generator(model).generate(prefix, None, GenerationOptions(num_return=2, **values))
    torch.manual_seed(11)
    theirs = reference(best_first(model), prefix, num_return_sequences=2, **values)
    assert torch.equal(ours.token_ids, theirs)


def best_first(model: nn.Module) -> nn.Module:
    """Drawn candidates in the order of their scores, which transformers up to 5.23 leave in the order of the draw."""
    drawn = model._get_top_k_continuations

    def ordered(*args, **kwargs) -> tuple[torch.Tensor, ...]:
        found = drawn(*args, **kwargs)
        order = found[0].argsort(dim=1, descending=True)
        image = torch.arange(len(order))[:, None]
        return tuple(part[image, order] for part in found)

    model._get_top_k_continuations = ordered
    return model


def test_first_tokens_follow_the_models_distribution() -> None:
    """Chi-square over tokens expected at least 5 times (others pooled); a wrong temperature fails the same test."""
    model, prefix = tiny_model("opt"), prefixes(1)
    draws = 3000

    def probability(temperature: float) -> float:
        options = GenerationOptions(do_sample=True, num_return=draws, max_new_tokens=1, seed=5, temperature=temperature)
        first = generator(model).generate(prefix, None, options).token_ids[:, 0]
        counts = first.bincount(minlength=199).double()
        expected = next_logprobs(model, prefix[0], []).exp().double() * draws
        often = expected >= 5
        observed = torch.cat([counts[often], counts[~often].sum()[None]])
        hoped = torch.cat([expected[often], expected[~often].sum()[None]])
        return stats.chisquare(observed.numpy(), hoped.numpy() * (observed.sum() / hoped.sum()).item()).pvalue

    assert probability(1.0) > 0.01
    assert probability(1.5) < 1e-6


@pytest.mark.parametrize("options", [{"num_return": 3}, {"num_beams": 3, "num_return": 2}])
def test_with_a_seed_a_caption_does_not_depend_on_its_batch(options: dict) -> None:
    model, prefix = tiny_model("llama"), prefixes(5)
    chosen = GenerationOptions(do_sample=True, max_new_tokens=9, seed=3, **options)
    captions = chosen.num_return
    together = generator(model).generate(prefix, None, chosen).token_ids
    torch.manual_seed(99)
    for row in range(5):
        alone = generator(model).generate(prefix[row : row + 1], None, chosen).token_ids
        assert torch.equal(alone, together[captions * row : captions * (row + 1)])
    other = generator(model).generate(
        prefix, None, GenerationOptions(do_sample=True, max_new_tokens=9, seed=4, **options)
    )
    assert not torch.equal(other.token_ids, together)


@pytest.mark.parametrize("options", [{}, {"do_sample": True, "num_return": 2, "seed": 1}])
def test_streamed_tokens_are_the_generated_ones(options: dict) -> None:
    model, prefix = tiny_model("gpt2"), prefixes(4)
    chosen = GenerationOptions(max_new_tokens=10, **options)
    whole = generator(model).generate(prefix, None, chosen)
    steps = list(generator(model).stream(prefix, None, chosen))
    assert len(steps) == whole.lengths.max()
    assert torch.equal(torch.stack([step.tokens for step in steps], dim=1), whole.token_ids[:, : len(steps)])
    assert torch.equal(torch.stack([step.live for step in steps]).sum(dim=0), whole.lengths)
    assert steps[-1].ended.all()


def test_a_stream_runs_no_further_than_it_is_read() -> None:
    model = tiny_model("opt")
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    stream = generator(model.train()).stream(prefixes(2), None, GenerationOptions(max_new_tokens=10, min_new_tokens=10))
    next(stream)
    assert len(calls) == 1
    assert not model.training
    stream.close()
    assert model.training, "the model must get its training mode back from a stream that is given up"
