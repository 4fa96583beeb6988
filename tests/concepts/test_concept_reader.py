"""The concept reader: exported, joined, written and read again; what it says of captions, begun and ended."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import tiny_blip2 as tiny
from scripts.concepts.guide import CONCEPT_WEIGHT, ConceptGuide
from scripts.concepts.reader import (
    ConceptReader,
    export_concept_reader,
    load_concept_reader,
    mean_token,
    save_concept_reader,
)
from scripts.concepts.tagger import ConceptNetwork
from scripts.concepts.vocabulary import ConceptVocabulary
from scripts.encoders.efficientnet import EfficientNetEncoder
from scripts.encoders.pooled import PooledEncoders
from scripts.errors import InputError, WeightsError
from scripts.generation import GenerationOptions
from scripts.networks.caption_network import CaptionNetwork
from scripts.networks.prompts import Prompt

CAPTIONS = [
    "Axial CT of the head showing a bleed.",
    "Sagittal T2-weighted MRI of the spine showing a cyst.",
    "Axial CT with IV contrast of the abdomen showing a cyst.",
    "Coronal MRI of the head showing a bleed, left.",
]


@pytest.fixture(scope="module")
def vocabulary() -> ConceptVocabulary:
    return ConceptVocabulary.from_captions(CAPTIONS, max_share=0.9)


def network_of(vocabulary: ConceptVocabulary, seed: int, size: int = 32) -> ConceptNetwork:
    torch.manual_seed(seed)
    encoder = EfficientNetEncoder(weights=None, input_size=size, trainable_blocks="all")
    network = ConceptNetwork(encoder=encoder, vocabulary=vocabulary).eval()
    with torch.no_grad():
        for head in (network.concepts, *network.fields.values()):
            torch.nn.init.normal_(head.weight)
            torch.nn.init.normal_(head.bias)
    return network


def exported(vocabulary: ConceptVocabulary, folder: Path, seed: int, size: int = 32) -> ConceptReader:
    torch.save(network_of(vocabulary, seed, size).state_dict(), folder / f"model_of_{seed}.pt")
    empty = network_of(vocabulary, seed + 100, size)
    checkpoint, path = folder / f"model_of_{seed}.pt", folder / f"{seed}.safetensors"
    return export_concept_reader(empty, vocabulary, CAPTIONS, checkpoint, path)


@pytest.fixture(scope="module")
def reader(vocabulary: ConceptVocabulary, tmp_path_factory: pytest.TempPathFactory) -> ConceptReader:
    return exported(vocabulary, tmp_path_factory.mktemp("reader"), 0).eval()


def images(count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_an_exported_reader_says_what_its_network_says(vocabulary: ConceptVocabulary, reader: ConceptReader) -> None:
    with torch.no_grad():
        expected = network_of(vocabulary, 0)(images())
    concepts, fields = reader(reader.encoder(images()))
    torch.testing.assert_close(concepts, expected["concepts"], atol=1e-4, rtol=1e-4)
    for name, read in fields.items():
        torch.testing.assert_close(read, expected[name].log_softmax(dim=1), atol=1e-4, rtol=1e-4)
    assert not any(parameter.requires_grad for parameter in reader.parameters())


def test_joined_readers_average_their_logits(vocabulary: ConceptVocabulary, tmp_path: Path) -> None:
    single = [exported(vocabulary, tmp_path, seed, size).eval() for seed, size in ((1, 32), (2, 64))]
    whole = ConceptReader.joined(single)
    both = [reader(reader.encoder(images())) for reader in single]
    concepts, fields = whole(whole.encoder(images()))
    torch.testing.assert_close(concepts, (both[0][0] + both[1][0]) / 2, atol=1e-4, rtol=1e-4)
    mean = (both[0][1]["organ"] + both[1][1]["organ"]) / 2
    torch.testing.assert_close(fields["organ"], mean.log_softmax(dim=1), atol=1e-4, rtol=1e-4)
    assert whole.encoder(images()).shape == (2, 1, whole.encoder.width) == (2, 1, 2 * 1280)
    other = ConceptReader(ConceptVocabulary.from_captions(CAPTIONS[:2]), single[0].encoder)
    with pytest.raises(InputError, match="different captions"):
        ConceptReader.joined([single[0], other])


def test_a_file_gives_the_same_reading(vocabulary: ConceptVocabulary, tmp_path: Path) -> None:
    from scripts.checkpoints.publish import main

    whole = ConceptReader.joined([exported(vocabulary, tmp_path, seed, size) for seed, size in ((1, 32), (2, 64))])
    singles = [str(tmp_path / f"{seed}.safetensors") for seed in (1, 2)]
    assert main(["reader", *singles, str(tmp_path / "models" / "both.safetensors")]) == 0
    again = load_concept_reader(tmp_path / "models" / "both.safetensors")
    pairs = (whole(whole.encoder(images())), again(again.encoder(images())))
    for name in ("plane", "modality", "organ"):
        torch.testing.assert_close(pairs[0][1][name], pairs[1][1][name], atol=0.05, rtol=0.05)  # half precision
    whole = load_concept_reader(tmp_path / "models" / "both.safetensors")
    assert again.encoder.fingerprint() == whole.encoder.fingerprint()
    assert again.encoder.fingerprint() != load_concept_reader(singles[0]).encoder.fingerprint()
    assert again.prior.counts == whole.prior.counts and again.prior.kinds == whole.prior.kinds
    assert load_concept_reader("") is None
    assert main(["reader", str(tmp_path / "absent.safetensors"), str(tmp_path / "x.safetensors")]) == 1


def test_a_broken_file_is_refused(vocabulary: ConceptVocabulary, tmp_path: Path) -> None:
    exported(vocabulary, tmp_path, 0)
    whole = (tmp_path / "0.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:100])
    from safetensors.torch import load, save

    tensors = load(whole)
    (tmp_path / "nameless.safetensors").write_bytes(save(tensors))
    for name in ("cut", "absent", "nameless"):
        with pytest.raises(WeightsError, match="is no concept reader .*set concept_reader to ''"):
            load_concept_reader(tmp_path / f"{name}.safetensors")


def test_an_encoder_that_no_file_can_name_is_refused(vocabulary: ConceptVocabulary, tmp_path: Path) -> None:
    class Own(EfficientNetEncoder):
        pass

    reader = ConceptReader(vocabulary, PooledEncoders([Own(weights=None, input_size=32)]))
    with pytest.raises(InputError, match="EfficientNetEncoder, not Own"):
        save_concept_reader(reader, tmp_path / "own.safetensors")


def test_padding_views_do_not_count() -> None:
    tokens = torch.randn(2, 6, 8)
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    assert torch.allclose(mean_token(tokens, mask)[1], tokens[1, :4].mean(dim=0))
    assert torch.allclose(mean_token(tokens, mask)[0], mean_token(tokens)[0])


def guide_of(reader: ConceptReader, tokens: torch.Tensor, weight: float = 1.0) -> ConceptGuide:
    return reader.guide(tokens, decode=list, starts=[""] * len(tokens), weight=weight)


def test_the_score_of_an_ended_caption_is_the_sum_of_its_log_probabilities(reader: ConceptReader) -> None:
    tokens = reader.encoder(images(1))
    concepts, fields = reader(tokens)
    caption = "Axial CT of an unnamed place."
    targets = reader.vocabulary.targets(caption)
    likely = -F.binary_cross_entropy_with_logits(concepts[0], targets, reduction="sum")
    plane = fields["plane"][0, reader.vocabulary.fields["plane"].index("axial")]
    modality = fields["modality"][0, reader.vocabulary.fields["modality"].index("ct")]
    guess = torch.tensor(1 / len(reader.vocabulary.fields["organ"])).log()  # no organ is named
    expected = CONCEPT_WEIGHT * likely + plane + modality + guess
    assert guide_of(reader, tokens).score(0, caption, True) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("caption", [*CAPTIONS, "Coronal CT with IV contrast of the spine showing a bleed, left."])
def test_a_begun_caption_has_what_its_best_end_can_have(reader: ConceptReader, caption: str) -> None:
    """Wherever a caption is cut, also inside a word, its bound is at least its score; and it only falls."""
    guide = guide_of(reader, reader.encoder(images(2)))
    for image in range(2):
        bounds = [guide.score(image, caption[:end], False) for end in range(len(caption))]
        assert min(bounds) >= guide.score(image, caption, True) - 1e-9
        assert all(after <= before + 1e-9 for before, after in zip(bounds, bounds[1:], strict=False))
        reading = guide._images[image]
        best = sum(max(read) for read in reading.answers)
        assert bounds[0] == pytest.approx(CONCEPT_WEIGHT * (reading.silent + reading.hope) + best)


def test_what_was_said_is_known_from_the_next_word_on(vocabulary: ConceptVocabulary) -> None:
    names = vocabulary.fields["modality"]

    def modalities(text: str) -> set[str] | None:
        answers = vocabulary.begun(text)[1][1]
        return None if answers is None else {names[number] for number in answers}

    assert modalities("Axial C") is None and modalities("Axial CT") is None
    assert modalities("Axial CT with") == {"ct", "ct with iv contrast"}
    assert modalities("Axial CT of") == {"ct"}
    assert modalities("Axial CT with IV contrast of") == {"ct with iv contrast"}
    assert modalities("Axial ultrasound of") == set()  # no training caption's
    assert [vocabulary.names[number] for number in vocabulary.begun("a bleed, lef")[0]] == ["bleed"]


def test_support_is_the_fields_alone(reader: ConceptReader) -> None:
    tokens = reader.encoder(images(2))
    _, fields = reader(tokens)
    expected = sum(
        read[1, reader.vocabulary.fields[name].index(answer)]
        for (name, read), answer in zip(fields.items(), ("axial", "ct", "head"), strict=True)
    )
    assert reader.support(tokens, [CAPTIONS[1], CAPTIONS[0]])[1] == pytest.approx(float(expected), rel=1e-5)


def test_guidance_is_of_the_images_asked_about(reader: ConceptReader) -> None:
    tokens = reader.encoder(images(3))
    guide = reader.guide(
        tokens, decode=lambda ids: [CAPTIONS[row[0]] for row in ids.tolist()], starts=["", "", "Axial "], weight=2.0
    )
    captions = torch.tensor([[[0], [1]], [[2], [3]]])
    ended = torch.tensor([[True, False], [False, True]])
    found = guide(torch.tensor([2, 0]), captions, ended)
    expected = [
        [guide.score(2, "Axial " + CAPTIONS[0], True), guide.score(2, "Axial " + CAPTIONS[1], False)],
        [guide.score(0, CAPTIONS[2], False), guide.score(0, CAPTIONS[3], True)],
    ]
    torch.testing.assert_close(found, 2 * torch.tensor(expected))


def test_commonness_is_taken_off(reader: ConceptReader) -> None:
    guide = reader.guide(reader.encoder(images(1)), decode=list, starts=[""], weight=2.0, prior_weight=0.5)
    for text, ended in ((CAPTIONS[0], True), ("Axial CT of the", False)):
        expected = 2 * guide.score(0, text, ended) - 0.5 * reader.prior.logprob(text, ended)
        assert guide.judge(0, text, ended) == pytest.approx(expected)


@pytest.fixture
def network(tmp_path: Path) -> CaptionNetwork:
    theirs = tiny.captioner_of_transformers()
    theirs.save_pretrained(tmp_path)
    return tiny.captioner(theirs, tmp_path, prompt="w7").eval()


class Insisting(ConceptReader):
    """Its guide wants one text, and notes those that it is shown."""

    wanted = ""

    def guide(self, tokens, token_mask=None, *, decode, starts, weight, prior_weight, known):  # noqa: ANN001, ANN201
        self.shown: list[str] = []

        def judge(images: torch.Tensor, captions: torch.Tensor, ended: torch.Tensor) -> torch.Tensor:
            texts = [starts[0] + text for text in decode(captions.flatten(0, 1))]
            self.shown += texts
            against = [-100.0 * (not self.wanted.startswith(text)) for text in texts]
            return weight * torch.tensor(against).view(ended.shape)

        return judge


def test_a_network_is_guided_by_its_reader_where_there_are_beams(
    network: CaptionNetwork, vocabulary: ConceptVocabulary
) -> None:
    image = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    options = GenerationOptions(num_beams=4, max_new_tokens=5)
    every = GenerationOptions(num_beams=4, num_return=4, max_new_tokens=5)
    beams = network.generate(network.encode(image), options=every)
    reader = Insisting(vocabulary, PooledEncoders([EfficientNetEncoder(weights=None, input_size=32)]))
    network.concept_reader, network.concept_weight = reader, 1.0
    reader.wanted = "w7" + network.tokenizer.batch_decode(beams.token_ids, skip_special_tokens=True)[3]
    encoded = network.encode(image)
    assert set(encoded) == {*network.branches, "reader"} and encoded["reader"][0].shape == (1, 1, 1280)
    guided = network.generate(encoded, options=options)
    assert torch.equal(guided.token_ids[0], beams.token_ids[3])
    assert all(text.startswith("w7") for text in reader.shown)  # the prompt is part of what is said
    cached = {f"{name}_tokens": tokens for name, (tokens, _) in encoded.items()}
    again = network.generate(network.encode(**cached), options=options)
    assert torch.equal(again.token_ids, guided.token_ids)
    network.concept_weight = 0.0
    assert torch.equal(network.generate(encoded, options=options).token_ids[0], beams.token_ids[0])


def test_support_of_a_network_counts_the_words_before_the_caption(
    network: CaptionNetwork, reader: ConceptReader
) -> None:
    ids = network.tokenizer(["w8 w9"], return_tensors="pt", add_special_tokens=False)["input_ids"]
    image = torch.rand(1, 3, 40, 40)
    assert network.support(network.encode(image), ids) is None
    network.concept_reader = reader
    encoded = network.encode(image)
    texts = network.tokenizer.batch_decode(ids)
    assert network.support(encoded, ids, [Prompt("Axial ")]) == reader.support(
        encoded["reader"][0], ["Axial " + texts[0]]
    )
    assert network.support(encoded, torch.cat([ids, ids])) is None  # several captions of an image


def test_cached_tokens_of_the_reader_reach_the_network(network: CaptionNetwork, reader: ConceptReader) -> None:
    from scripts.training.batches import PrepareCase

    batch = {"general_tokens": torch.zeros(1, 2, 3), "reader_tokens": torch.ones(1, 1, 4), "caption": ["x"]}
    assert set(PrepareCase(network)(batch)[3]) == {"general_tokens"}
    network.concept_reader = reader
    assert set(PrepareCase(network)(batch)[3]) == {"general_tokens", "reader_tokens"}
