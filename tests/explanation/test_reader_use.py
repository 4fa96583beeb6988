"""Maps of the concept reader: the corner that decides, in the square and in the file; words that it does not know."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tiny_explained as tiny
import torch

from scripts.captioning import caption_batch
from scripts.concepts.reader import ConceptReader
from scripts.concepts.vocabulary import ConceptVocabulary
from scripts.encoders.pooled import PooledEncoders
from scripts.errors import InputError
from scripts.explanation import explain
from scripts.explanation.geometry import to_source
from scripts.explanation.masks import word_masks
from scripts.networks.caption_network import CaptionNetwork
from scripts.windowing.letterbox import letterbox


def with_reader(*names: str) -> CaptionNetwork:
    """A network whose reader sees its first phrase where the image is red, and each other one where it is blue."""
    encoders = [tiny.PatchEncoder(width=3), tiny.PatchEncoder(width=3)]
    for encoder in encoders:
        encoder.lift.weight.data, encoder.lift.bias.data = torch.eye(3), torch.zeros(3)
    vocabulary = ConceptVocabulary(list(names), shares=torch.full((len(names),), 0.1), fields={}, longest=1)
    reader = ConceptReader(vocabulary, PooledEncoders(encoders))
    reader.weight[0, [0, 3]] = 1.0
    reader.weight[1:, [2, 5]] = 1.0
    network = tiny.network({"general": tiny.PatchEncoder(), "detail": tiny.PatchEncoder()})
    network.concept_reader = reader.eval()
    return network


def coloured(rows: int, columns: int) -> torch.Tensor:
    """Black, red in its upper right corner and blue in its lower left one."""
    picture = torch.zeros(1, 3, rows, columns)
    picture[0, 0, : rows // 3, -(columns // 3) :] = 1.0
    picture[0, 2, -(rows // 3) :, : columns // 3] = 1.0
    return picture


def explained(network: CaptionNetwork, square: torch.Tensor):  # noqa: ANN201
    return explain(network, network.encode(square), square, tiny.IDS, tiny.LENGTHS, "reader")[0]


@pytest.mark.parametrize(("rows", "columns"), [(64, 64), (40, 80), (90, 60)])
def test_the_corner_that_decides_is_found_in_the_file(rows: int, columns: int) -> None:
    """The letterbox is undone as for every other map: peaks and masks lie in the corners of the picture itself."""
    picture = coloured(rows, columns)
    square, resize = letterbox(picture, 16)
    found = explained(with_reader("w5", "w12", "w9"), square)
    assert found.methods == ("reader", "reader", "reader") and list(found.maps) == ["reader"]
    heat = to_source(found.combined(16)[:, 0], resize)
    inside = [(slice(0, rows // 2), slice(columns // 2, None)), (slice(rows // 2, None), slice(0, columns // 2))]
    for word, half in zip((0, 2), inside, strict=True):
        assert float(heat[word][half].sum()) > 0.8 * float(heat[word].sum())
    first, _, last = word_masks(found, {"resize": resize})
    for one, half in zip((first, last), inside, strict=True):
        assert one.mask[half].sum() > 0.8 * one.mask.sum() > 0


def test_a_word_that_the_reader_does_not_know_has_the_map_of_its_gradient() -> None:
    network = with_reader("w5", "w12")
    square = coloured(16, 16) + 0.1
    found = explained(network, square)
    (gradient,) = explain(network, network.encode(square), square, tiny.IDS, tiny.LENGTHS, "gradient")
    assert found.words == ("w5", "w9", "w12") and found.methods == ("reader", "gradient", "reader")
    assert found.method == "reader" and list(found.maps) == ["reader", "general", "detail"]
    for name in ("general", "detail"):
        torch.testing.assert_close(found.maps[name][1], gradient.maps[name][1])
        torch.testing.assert_close(found.share[name][1], gradient.share[name][1])
    torch.testing.assert_close(found.share["reader"], torch.tensor([1.0, 0.0, 1.0]))
    torch.testing.assert_close(found.combined(8)[1], gradient.combined(8)[1])
    assert found.logprobs == pytest.approx(gradient.logprobs, abs=1e-5)
    assert found.outlined(0) == "reader" and found.outlined(1) in ("general", "detail")
    assert found.first(2).methods == ("reader", "gradient")


def test_a_word_for_which_all_places_speak_alike_counts_as_unknown() -> None:
    square = coloured(16, 16)
    square[:, 2] = 0.0  # nothing is blue
    assert explained(with_reader("w5", "w12", "w9"), square).methods == ("reader", "gradient", "gradient")


def test_places_count_by_what_they_add_beyond_the_average() -> None:
    network, square = with_reader("w5", "w12", "w9"), torch.rand(1, 3, 16, 16)
    red = square[0, 0].unfold(0, 4, 4).unfold(1, 4, 4).mean((2, 3))
    expected = (red - red.mean()).clamp_min(0)
    torch.testing.assert_close(explained(network, square).maps["reader"][0], expected / expected.sum())


def test_views_and_padding() -> None:
    """The second view holds the corner; the third is padding, of which nothing may be said."""
    network = with_reader("w5", "w12", "w9")
    views = torch.stack([torch.zeros(3, 16, 16), coloured(16, 16)[0], torch.ones(3, 16, 16)])[None]
    mask = torch.tensor([[True, True, False]])
    (found,) = explain(network, network.encode(views, mask), views, tiny.IDS, tiny.LENGTHS, "reader")
    held = found.maps["reader"].flatten(2).sum(-1)
    assert found.maps["reader"].shape == (3, 3, 4, 4)
    torch.testing.assert_close(held, torch.tensor([[0.0, 1.0, 0.0]] * 3), atol=1e-6, rtol=0)


def test_words_that_name_nothing_visible_have_no_map(monkeypatch: pytest.MonkeyPatch) -> None:
    network = with_reader("w5", "w12", "with")
    decode = type(network.tokenizer).decode
    monkeypatch.setattr(
        type(network.tokenizer), "decode", lambda *given, **how: decode(*given, **how).replace("w9", "with")
    )
    found = explained(network, coloured(16, 16))
    assert found.words == ("w5", "with", "w12") and found.methods == ("reader", None, "reader")
    assert float(found.maps["reader"][1].abs().max()) == 0


def test_what_it_needs_is_asked_for() -> None:
    network, square = tiny.network(), coloured(16, 16)
    with pytest.raises(InputError, match="this network has none"):
        explained(network, square)
    network = with_reader("w5")
    with pytest.raises(InputError, match="only its tokens are kept"):
        explain(network, network.encode(square), None, tiny.IDS, tiny.LENGTHS, "reader")


def test_captions_are_explained_by_the_reader() -> None:
    network = with_reader("w5", "w12")
    network.options = replace(network.options, num_beams=1, max_new_tokens=4)
    made = caption_batch(network, coloured(16, 16), explain="reader")
    assert made.explanations[0].method == "reader"
