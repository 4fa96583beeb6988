"""Diverse and guided beams against a naive search, scores, and what leaving the batch early must not change."""

from __future__ import annotations

import pytest
import torch
from naive_search import diverse_beams, next_logprobs
from tiny_language_models import CONFIGS, END, PAD, left_padding, prefixes, tiny_model

from scripts.errors import InputError
from scripts.generation import GenerationOptions, Generator


def generate(model, prefix, mask=None, guide=None, **options):
    generator = Generator(model, eos_token_id=END, pad_token_id=PAD)
    return generator.generate(prefix, mask, GenerationOptions(**options), guide)


def opinion(image: int, caption: list[int], ended: bool) -> float:
    """A guide's, of no meaning: it differs by image, by token and by whether the caption has ended."""
    return sum(((7 * image + 3 * token) % 11) / 4 for token in caption) - 2.0 * ended


class Opinions:
    """`opinion` as a guide, which notes the images that it is asked about."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    def __call__(self, images: torch.Tensor, captions: torch.Tensor, ended: torch.Tensor) -> torch.Tensor:
        self.asked.append(images.tolist())
        rows = zip(images.tolist(), captions.tolist(), ended.tolist(), strict=True)
        return torch.tensor([[opinion(i, c, e) for c, e in zip(cs, es, strict=True)] for i, cs, es in rows])


@pytest.mark.parametrize("architecture", ["opt", "llama"])
@pytest.mark.parametrize("penalty", [0.0, 0.5, 3.0])
def test_diverse_beams_equal_a_naive_search(architecture: str, penalty: float) -> None:
    model, prefix = tiny_model(architecture), prefixes(2)
    options = {"num_beams": 6, "num_beam_groups": 3, "num_return": 6, "max_new_tokens": 6, "length_penalty": 0.8}
    found = generate(model, prefix, diversity_penalty=penalty, **options)
    for image in range(2):
        expected = diverse_beams(
            model, prefix[image], groups=3, size=2, penalty=penalty, length_penalty=0.8, tokens=6, end=END
        )
        for row, (score, caption) in enumerate(expected, start=6 * image):
            assert found.token_ids[row, : found.lengths[row]].tolist() == caption
            assert found.sequence_scores[row].item() == pytest.approx(score, abs=1e-4)


@pytest.mark.parametrize("architecture", ["opt", "llama"])
@pytest.mark.parametrize(("groups", "penalty"), [(1, 0.0), (2, 0.5)])
def test_guided_beams_equal_a_naive_search(architecture: str, groups: int, penalty: float) -> None:
    model, prefix = tiny_model(architecture), prefixes(4)
    options = {"num_beams": 4, "num_beam_groups": groups, "num_return": 4, "max_new_tokens": 7, "length_penalty": 0.8}
    guide = Opinions()
    found = generate(model, prefix, guide=guide, diversity_penalty=penalty, **options)
    size = 4 // groups
    for image in range(4):
        expected = diverse_beams(
            model, prefix[image], groups=groups, size=size, penalty=penalty, length_penalty=0.8, tokens=7, end=END,
            guide=lambda caption, ended, image=image: opinion(image, caption, ended),
        )  # fmt: skip
        for row, (score, caption) in enumerate(expected, start=4 * image):
            assert found.token_ids[row, : found.lengths[row]].tolist() == caption
            assert found.sequence_scores[row].item() == pytest.approx(score, abs=1e-3)
    plain = generate(model, prefix, diversity_penalty=penalty, **options)
    assert not torch.equal(plain.token_ids, found.token_ids)
    assert guide.asked[0] == [0, 1, 2, 3]


def test_a_guide_without_opinion_changes_nothing() -> None:
    model, prefix = tiny_model("llama"), prefixes(5)
    options = {"num_beams": 3, "num_return": 3, "max_new_tokens": 8, "repetition_penalty": 1.3}
    plain = generate(model, prefix, **options)
    silent = generate(model, prefix, guide=lambda images, captions, ended: torch.zeros(ended.shape), **options)
    assert torch.equal(plain.token_ids, silent.token_ids)
    assert torch.equal(plain.sequence_scores, silent.sequence_scores)


@pytest.mark.parametrize("options", [{}, {"num_beams": 2, "do_sample": True}])
def test_a_guide_needs_beams(options: dict) -> None:
    with pytest.raises(InputError, match="num_beams above 1"):
        generate(tiny_model("opt"), prefixes(1), guide=Opinions(), max_new_tokens=2, **options)


def test_a_penalty_makes_groups_differ() -> None:
    model, prefix = tiny_model("opt", early_end=False), prefixes(4)
    options = {"num_beams": 4, "num_beam_groups": 4, "num_return": 4, "max_new_tokens": 6}
    alike = generate(model, prefix, **options).token_ids.unflatten(0, (4, 4))
    apart = generate(model, prefix, diversity_penalty=50.0, **options).token_ids.unflatten(0, (4, 4))
    assert all(len(image.unique(dim=0)) == 1 for image in alike)
    assert all(len(image[:, 0].unique()) == 4 for image in apart)


@pytest.mark.parametrize("architecture", list(CONFIGS))
@pytest.mark.parametrize(
    "options", [{}, {"num_beams": 4, "num_return": 2, "repetition_penalty": 1.5}, {"num_return": 1}]
)
def test_token_logprobs_are_the_models_own(architecture: str, options: dict) -> None:
    """Against a pass over the whole sequence: before penalties, natural logarithm, 0 at padding."""
    model, prefix = tiny_model(architecture), prefixes(3)
    found = generate(model, prefix, max_new_tokens=7, **options)
    captions = options.get("num_return", 1)
    for row, length in enumerate(found.lengths.tolist()):
        tokens = found.token_ids[row, :length].tolist()
        for place, token in enumerate(tokens):
            expected = next_logprobs(model, prefix[row // captions], tokens[:place])[token].item()
            assert found.token_logprobs[row, place].item() == pytest.approx(expected, abs=1e-4)
        assert (found.token_ids[row, length:] == PAD).all()
        assert (found.token_logprobs[row, length:] == 0).all()


def test_sequence_scores_are_length_penalised_sums() -> None:
    found = generate(tiny_model("llama"), prefixes(5), num_beams=4, num_return=4, max_new_tokens=9, length_penalty=1.3)
    sums = found.token_logprobs.sum(dim=1) / found.lengths.float() ** 1.3
    assert torch.allclose(found.sequence_scores, sums, atol=1e-5)
    scores = found.sequence_scores.unflatten(0, (5, 4))
    assert torch.equal(scores, scores.sort(dim=1, descending=True).values)


@pytest.mark.parametrize("architecture", list(CONFIGS))
@pytest.mark.parametrize(
    "options", [{"num_beams": 3}, {"num_beams": 3, "repetition_penalty": 2.0}, {}, {"repetition_penalty": 2.0}]
)
def test_a_caption_does_not_depend_on_its_batch(architecture: str, options: dict) -> None:
    """Neither on neighbours that end early and leave the batch, nor on padding."""
    model, prefix, mask = tiny_model(architecture), prefixes(7), left_padding(7)
    together = generate(model, prefix, mask, max_new_tokens=10, **options)
    assert len(together.lengths.unique()) > 1
    for row in range(7):
        alone = generate(model, prefix[row : row + 1, row % 4 :], None, max_new_tokens=10, **options)
        assert torch.equal(alone.token_ids[0], together.token_ids[row])
        assert torch.allclose(alone.token_logprobs[0], together.token_logprobs[row], atol=1e-4)


def test_padding_may_stand_anywhere() -> None:
    model, prefix = tiny_model("opt"), prefixes(3)
    mask = torch.tensor([[1, 1, 0, 1, 1, 0, 0], [0, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 0]])
    together = generate(model, prefix, mask, num_beams=3, max_new_tokens=8)
    for row in range(3):
        alone = generate(model, prefix[row][mask[row] == 1][None], None, num_beams=3, max_new_tokens=8)
        assert torch.equal(alone.token_ids[0], together.token_ids[row])
