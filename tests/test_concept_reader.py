"""The concept reader: fitted, written and read again, its scores by hand, and the beams that it ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import tiny_blip2 as tiny
from scripts.concept_reader import ConceptReader, fit_concept_reader, load_concept_reader, mean_token
from scripts.concept_vocabulary import ConceptVocabulary
from scripts.errors import InputError, WeightsError
from scripts.generation import GenerationOptions
from scripts.networks import CaptionNetwork

WIDTH = 8
CAPTIONS = ["Axial CT of the head showing a bleed.", "Sagittal MRI of the spine showing a cyst."]


class Encoder:
    width = WIDTH


def cases(count: int = 20) -> list[dict[str, Any]]:
    """Two kinds of images, told apart by their first channel, under noise."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(count, 3, WIDTH, generator=generator) * 0.3
    tokens[1::2, :, 0] += 2.0
    return [{"general_tokens": tokens[n], "caption": CAPTIONS[n % 2]} for n in range(count)]


@pytest.fixture
def weights(tmp_path: Path) -> str:
    """A file in the encoder's place: the reader is marked with its hash."""
    file = tmp_path / "encoder.pt"
    file.write_bytes(b"an encoder")
    return str(file)


@pytest.fixture
def fitted(tmp_path: Path, weights: str) -> tuple[ConceptReader, Path]:
    path = tmp_path / "models" / "concept_reader.safetensors"
    options = {"encoder": Encoder(), "encoder_weights": weights, "path": path, "penalty": 0.01}
    return fit_concept_reader(cases(), cases(4), **options), path


def test_it_reads_what_captions_say(fitted: tuple[ConceptReader, Path], capsys: pytest.CaptureFixture) -> None:
    reader, _ = fitted
    held_out = torch.zeros(2, 1, WIDTH)
    held_out[1, 0, 0] = 2.0
    concepts, fields = reader(held_out)
    planes = reader.vocabulary.fields["plane"]
    assert [planes[row] for row in fields["plane"].argmax(dim=1).tolist()] == ["axial", "sagittal"]
    assert torch.allclose(fields["organ"].exp().sum(dim=1), torch.ones(2))
    cyst = reader.vocabulary.names.index("cyst" if "cyst" in reader.vocabulary.names else "a")
    assert concepts[1, cyst] > 0 > concepts[0, cyst]


def test_the_fit_is_where_the_gradient_vanishes(fitted: tuple[ConceptReader, Path]) -> None:
    """A convex problem has one minimum: no gradient is left of any of the four losses."""
    reader, _ = fitted
    data = cases()
    pooled = torch.stack([case["general_tokens"].mean(dim=0) for case in data])
    weight = reader.weight.clone().requires_grad_()
    logits = F.linear((pooled - reader.mean) * reader.scale, weight, reader.bias)
    concepts, *fields = logits.split(reader.sizes, dim=1)
    targets = torch.stack([reader.vocabulary.targets(case["caption"]) for case in data])
    answers = torch.stack([reader.vocabulary.field_targets(case["caption"]) for case in data])
    loss = F.binary_cross_entropy_with_logits(concepts, targets, reduction="none").sum(dim=1).mean()
    loss = loss + sum(F.cross_entropy(part, answers[:, column]) for column, part in enumerate(fields))
    (gradient,) = torch.autograd.grad(loss + 0.01 * weight.square().sum(), weight)
    assert gradient.abs().max() < 2e-3


def test_a_score_is_the_sum_of_its_log_probabilities(fitted: tuple[ConceptReader, Path]) -> None:
    reader, _ = fitted
    tokens = cases(2)[0]["general_tokens"][None]
    concepts, fields = reader(tokens)
    caption = "Axial CT of an unnamed place."
    targets = reader.vocabulary.targets(caption)
    likely = torch.where(targets.bool(), concepts[0].sigmoid(), 1 - concepts[0].sigmoid()).log().sum()
    plane = fields["plane"][0, reader.vocabulary.fields["plane"].index("axial")]
    modality = fields["modality"][0, reader.vocabulary.fields["modality"].index("ct")]
    guess = torch.tensor(1 / len(reader.vocabulary.fields["organ"])).log()  # no organ is named
    expected = 0.1 * likely + plane + modality + guess
    assert reader.score(tokens, [[caption]])[0][0] == pytest.approx(float(expected), rel=1e-5)


def test_padding_views_do_not_count() -> None:
    tokens = torch.randn(2, 6, WIDTH)
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    assert torch.allclose(mean_token(tokens, mask)[1], tokens[1, :4].mean(dim=0))
    assert torch.allclose(mean_token(tokens, mask)[0], mean_token(tokens)[0])


def test_a_file_gives_the_same_scores(fitted: tuple[ConceptReader, Path], weights: str) -> None:
    reader, path = fitted
    again = load_concept_reader(path, width=WIDTH, encoder_weights=weights)
    tokens = torch.stack([case["general_tokens"] for case in cases(4)])
    texts = [CAPTIONS] * 4
    assert torch.allclose(
        torch.tensor(again.score(tokens, texts)), torch.tensor(reader.score(tokens, texts)), atol=0.02
    )
    assert not list(again.parameters()) and not again.state_dict()  # no checkpoint holds it
    assert load_concept_reader("", width=WIDTH, encoder_weights=weights) is None


def test_another_encoder_or_a_broken_file_is_refused(
    fitted: tuple[ConceptReader, Path], weights: str, tmp_path: Path
) -> None:
    _, path = fitted
    other = tmp_path / "other.pt"
    other.write_bytes(b"another encoder")
    with pytest.raises(WeightsError, match="fitted to another general encoder"):
        load_concept_reader(path, width=WIDTH, encoder_weights=str(other))
    with pytest.raises(WeightsError, match="damaged: mean"):
        load_concept_reader(path, width=WIDTH + 1, encoder_weights=weights)
    path.write_bytes(path.read_bytes()[:100])
    for broken in (path, tmp_path / "absent.safetensors"):
        with pytest.raises(WeightsError, match="is no concept reader .*set concept_reader to ''"):
            load_concept_reader(broken, width=WIDTH, encoder_weights=weights)


class Preferring(nn.Module):
    """A reader that likes one of the texts it is shown, and notes them."""

    def __init__(self, place: int) -> None:
        super().__init__()
        self.place = place
        self.shown: list[list[str]] = []

    def score(self, tokens: torch.Tensor, captions: list[list[str]], token_mask: object = None) -> list[list[float]]:
        self.shown += captions
        return [[0.0 if place == self.place else -100.0 for place in range(len(texts))] for texts in captions]

    best_of = ConceptReader.best_of


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> CaptionNetwork:
    theirs = tiny.captioner_of_transformers()
    folder = tmp_path_factory.mktemp("blip2")
    theirs.save_pretrained(folder)
    return tiny.captioner(theirs, folder, prompt="w7").eval()


@pytest.mark.parametrize("place", [0, 2])
def test_the_reader_chooses_among_the_beams_of_each_image(network: CaptionNetwork, place: int) -> None:
    options = GenerationOptions(num_beams=4, num_return=4, max_new_tokens=5)
    image = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    encoded = network.encode(image)
    network.concept_reader, network.concept_weight = None, 1.0
    beams = network.generate(encoded, options=options)
    reader = Preferring(place)
    network.concept_reader = reader
    chosen = network.generate(encoded, options=GenerationOptions(num_beams=4, max_new_tokens=5))
    rows = [place, 4 + place]
    assert torch.equal(chosen.token_ids, beams.token_ids[rows])
    assert torch.equal(chosen.token_logprobs, beams.token_logprobs[rows])
    assert all(text.startswith("w7") for texts in reader.shown for text in texts)  # the prompt is part of what is said
    network.concept_weight = 0.0
    plain = network.generate(encoded, options=GenerationOptions(num_beams=4, max_new_tokens=5))
    assert torch.equal(plain.token_ids, beams.token_ids[[0, 4]])


def test_a_reader_needs_the_general_branch(network: CaptionNetwork) -> None:
    vocabulary = ConceptVocabulary.from_captions(CAPTIONS)
    with pytest.raises(InputError, match="set concept_reader to ''"):
        CaptionNetwork(
            branches={"detail": network.branches["general"]},
            language_model=network.language_model,
            concept_reader=ConceptReader(vocabulary, WIDTH),
        )


def test_support_is_the_fields_alone_and_words_before_the_caption_count(
    network: CaptionNetwork, fitted: tuple[ConceptReader, Path]
) -> None:
    reader, _ = fitted
    tokens = cases(2)[0]["general_tokens"][None]
    _, fields = reader(tokens)
    expected = sum(
        read[0, reader.vocabulary.fields[name].index(answer)]
        for (name, read), answer in zip(fields.items(), ("axial", "ct", "head"), strict=True)
    )
    assert reader.support(tokens, [CAPTIONS[0]]) == [pytest.approx(float(expected), rel=1e-5)]
    network.concept_reader = reader
    encoded = {"general": (tokens, None)}
    ids = network.tokenizer(["w8 w9"], return_tensors="pt", add_special_tokens=False)["input_ids"]
    heard: list[list[str]] = []
    reader.support = lambda tokens, captions, mask: heard.append(captions)
    network.support(encoded, ids, ["Axial "])
    assert heard[0][0].startswith("Axial ") and "w8" in heard[0][0]
    network.concept_reader = None
    assert network.support(encoded, ids) is None
