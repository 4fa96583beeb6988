"""Maps of words: shapes and sums, a planted dependency is found, gradients against finite differences."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tiny_explained as tiny
import torch

from scripts.captioning import caption_batch
from scripts.errors import InputError
from scripts.explanation import explain
from scripts.explanation.occlusion_use import surrounded
from scripts.explanation.prefix_use import attention_use, gradients, token_logprobs, word_logprobs
from scripts.explanation.qformer_attention import read_tokens, rollout
from scripts.explanation.token_relevance import token_relevance
from scripts.explanation.words import Word, content_words, words_of
from scripts.networks.prompts import Prompt

METHODS = ("attention", "gradient", "occlusion")


def image(views: int = 0, seed: int = 2) -> torch.Tensor:
    shape = (1, views, 3, 16, 16) if views else (1, 3, 16, 16)
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("absorbed", [False, True])
@pytest.mark.parametrize("views", [0, 3])
def test_explicit_reading_gives_the_states_of_the_branch(absorbed: bool, views: int) -> None:
    network = tiny.network(absorbed=absorbed)
    mask = torch.tensor([[True, True, False]]) if views else None
    tokens, token_mask = network.encode(image(views), mask)["general"]
    branch = network.branches["general"]
    torch.nn.init.normal_(branch.token_norm.weight)
    torch.nn.init.normal_(branch.token_norm.bias)
    torch.testing.assert_close(read_tokens(branch, tokens, token_mask).states, branch(tokens, token_mask))  # may learn
    with torch.no_grad():
        reading = read_tokens(branch, tokens, token_mask)
        torch.testing.assert_close(reading.states, branch(tokens, token_mask), atol=1e-5, rtol=1e-5)
        shares = rollout(reading)
    assert shares.shape == (1, tiny.QUERIES, tokens.shape[1])
    torch.testing.assert_close(shares.sum(-1), torch.ones(1, tiny.QUERIES))
    if views:
        assert float(shares[..., 32:].abs().max()) == 0.0  # the third view is padding


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("views", [0, 2])
def test_shapes_and_sums(method: str, views: int) -> None:
    encoders = {"general": tiny.PatchEncoder(class_token=True), "detail": tiny.PatchEncoder()}
    network = tiny.network(encoders)
    pixels = image(views)
    (found,) = explain(network, network.encode(pixels), pixels, tiny.IDS, tiny.LENGTHS, method)
    assert found.words == ("w5", "w9", "w12")
    cells = (16, 16) if method == "occlusion" else (4, 4)
    expected = (3, views, *cells) if views else (3, *cells)
    for maps in found.maps.values():
        assert maps.shape == expected and bool((maps >= 0).all())
        assert not maps.requires_grad  # although the caller asked for gradients
        torch.testing.assert_close(maps.flatten(1).sum(1), torch.ones(3))
    torch.testing.assert_close(sum(found.share.values()), torch.ones(3))
    combined = found.combined(32)
    assert combined.shape == (3, max(views, 1), 32, 32)
    torch.testing.assert_close(combined.flatten(1).sum(1), torch.ones(3))
    assert found.regions is None  # no SAM encoder


@pytest.mark.parametrize("method", METHODS)
def test_log_probabilities_are_those_of_the_caption(method: str) -> None:
    network = tiny.network()
    pixels = image()
    encoded = network.encode(pixels)
    (found,) = explain(network, encoded, pixels, tiny.IDS, tiny.LENGTHS, method)
    with torch.no_grad():
        whole = token_logprobs(network.language_model, network.prefix(encoded)[0], tiny.IDS[0])[0]
        loss = network(
            input_ids=tiny.IDS, attention_mask=torch.ones_like(tiny.IDS), general_tokens=encoded["general"][0]
        )
    assert float(-whole.mean()) == pytest.approx(float(loss["loss"]), abs=1e-5)
    assert found.logprobs == pytest.approx(whole[:3].tolist(), abs=1e-5)


@pytest.mark.parametrize("patch", [0, 6, 15])
def test_a_planted_dependency_is_found(patch: int) -> None:
    """By attention for every word; by gradient for every word that the patch supports, and for no other."""
    network = tiny.planted(patch)
    pixels = image()
    encoded = network.encode(pixels)
    found = {m: explain(network, encoded, pixels, tiny.IDS, tiny.LENGTHS, m)[0].combined(4)[:, 0] for m in METHODS}
    assert found["attention"].flatten(1).argmax(1).tolist() == [patch] * 3
    # the network really depends on that patch: changing it matters, changing all others hardly does
    row, column = divmod(patch, 4)
    place = (..., slice(4 * row, 4 * row + 4), slice(4 * column, 4 * column + 4))
    inside, outside = pixels.clone(), torch.rand_like(pixels)
    inside[place], outside[place] = pixels.mean(), pixels[place]
    with torch.no_grad():
        before, hidden, other = (
            token_logprobs(network.language_model, network.prefix(network.encode(x))[0], tiny.IDS[0])[0]
            for x in (pixels, inside, outside)
        )
    assert (hidden - before).abs().max() > 3 * (other - before).abs().max()
    tokens, mask = encoded["general"]
    words = words_of(network.tokenizer, tiny.IDS[0].tolist())
    _, gradient = gradients(network.language_model, network.prefix(encoded)[0], tiny.IDS[0], words)
    relevance = token_relevance(network.branches["general"], network.projections["general"], tokens, mask, gradient)
    assert relevance.abs().argmax(1).tolist() == [patch] * 3
    supported = relevance[:, patch] > 0
    maps = found["gradient"].flatten(1)
    assert bool((maps[supported, patch] > 0.9).all())
    assert bool((maps[~supported] < 0.1).all())  # nothing supports such a word: its map is even


@pytest.mark.parametrize("patch", [0, 6, 15])
@pytest.mark.parametrize("bright", [False, True])
def test_occlusion_finds_a_planted_dependency(patch: int, bright: bool) -> None:
    """Words that the patch's surroundings in its place make less likely rest on it; others, on no place."""
    network = tiny.planted(patch)
    row, column = divmod(patch, 4)
    box = (4 * row, 4 * column, 4 * row + 4, 4 * column + 4)
    pixels = 0.2 * image() + (0.0 if bright else 0.8)
    pixels[0, :, box[0] : box[2], box[1] : box[3]] += 0.8 if bright else -0.8  # nothing that covers it looks like it
    with torch.no_grad():
        shown, hidden = (
            token_logprobs(network.language_model, network.prefix(network.encode(x))[0], tiny.IDS[0])[0, :3]
            for x in (pixels, surrounded(pixels[0], [box]))
        )
    (found,) = explain(network, network.encode(pixels), pixels, tiny.IDS, tiny.LENGTHS, "occlusion")
    maps = found.combined(4)[:, 0].flatten(1)
    fell = hidden < shown
    assert 0 < int(fell.sum()) < 3  # what one makes likelier makes another less likely
    assert maps[fell].argmax(1).tolist() == [patch] * int(fell.sum())
    torch.testing.assert_close(maps[~fell], torch.full_like(maps[~fell], 1 / 16))


def test_relevance_is_the_fall_to_first_order() -> None:
    """A token moved a little towards the mean: the word's log-probability falls by that part of its relevance."""
    network = tiny.network().double()
    tokens = network.encode(image().double())["general"][0].double()
    branch, projection = network.branches["general"], network.projections["general"]
    words = words_of(network.tokenizer, tiny.IDS[0].tolist())

    def value(moved: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            prefix = projection(branch(moved))
            return word_logprobs(token_logprobs(network.language_model, prefix, tiny.IDS[0]), words)[0].double()

    with torch.no_grad():
        prefix = projection(branch(tokens))
    _, gradient = gradients(network.language_model, prefix, tiny.IDS[0], words)
    relevance = token_relevance(branch, projection, tokens, None, gradient)
    mean = tokens.mean(1)[0]
    for token in (0, 5, 11):
        steps = []
        for sign in (1, -1):
            moved = tokens.clone()
            moved[0, token] += sign * 0.01 * (mean - tokens[0, token])
            steps.append(value(moved))
        slope = (steps[1] - steps[0]) / 0.02
        torch.testing.assert_close(relevance[:, token].double(), slope, atol=2e-4, rtol=2e-2)


def test_gradients_equal_finite_differences() -> None:
    network = tiny.network().double()
    words = [Word("a", (0,)), Word("b", (1, 2))]
    with torch.no_grad():
        prefix = network.prefix(network.encode(image().double()))[0].double()
    logprobs, gradient = gradients(network.language_model, prefix, tiny.IDS[0], words)

    def value(moved: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return word_logprobs(token_logprobs(network.language_model, moved, tiny.IDS[0]), words)[0]

    torch.testing.assert_close(value(prefix).float(), logprobs.float())
    step = 1e-3  # log-probabilities are float32
    for position, unit in [(0, 3), (1, 7), (3, 15)]:
        moved = [prefix.clone(), prefix.clone()]
        moved[0][0, position, unit] += step
        moved[1][0, position, unit] -= step
        slope = (value(moved[0]) - value(moved[1])) / (2 * step)
        torch.testing.assert_close(gradient[:, position, unit].float(), slope.float(), atol=2e-3, rtol=2e-2)


def test_attention_use_leaves_the_model_as_it_was() -> None:
    network = tiny.network()
    usual = network.language_model.model.config._attn_implementation
    prefix = network.prefix(network.encode(image()))[0].detach()
    _, use = attention_use(network.language_model, prefix, tiny.IDS[0], [Word("a", (0, 1))])
    assert use.shape == (1, tiny.QUERIES) and bool((use >= 0).all())
    assert network.language_model.model.config._attn_implementation == usual


def test_channel_tokens_have_no_map_and_say_so() -> None:
    network = tiny.network({"general": tiny.PatchEncoder(), "detail": tiny.PatchEncoder(channel=True)})
    pixels = image()
    (found,) = explain(network, network.encode(pixels), pixels, tiny.IDS, tiny.LENGTHS, "gradient")
    assert list(found.maps) == ["general"]
    assert "detail branch has no map" in found.notes[0]
    assert set(found.share) == {"general", "detail"}


@pytest.mark.parametrize("method", METHODS)
def test_blank_images_and_empty_captions(method: str) -> None:
    network = tiny.network()
    blank = torch.zeros(2, 3, 16, 16)
    ids = torch.tensor([[5, 9, tiny.END], [tiny.END, tiny.PAD, tiny.PAD]])
    found = explain(network, network.encode(blank), blank, ids, torch.tensor([3, 1]), method)
    assert found[0].words == ("w5", "w9") and all(bool(maps.isfinite().all()) for maps in found[0].maps.values())
    assert found[1].words == () and all(maps.shape[0] == 0 for maps in found[1].maps.values())


def test_prompts_and_batches() -> None:
    """A row's explanation does not depend on its neighbours, and a prompt stands between image and caption."""
    network = tiny.network()
    pixels = torch.cat([image(seed=1), image(seed=2)])
    ids, lengths = tiny.IDS.repeat(2, 1), tiny.LENGTHS.repeat(2)
    both = explain(network, network.encode(pixels), pixels, ids, lengths, prompts=[Prompt("w7 w8"), Prompt("w3")])
    one = explain(network, network.encode(pixels[1:]), pixels[1:], ids[1:], lengths[1:], prompts=[Prompt("w3")])[0]
    torch.testing.assert_close(both[1].combined(4), one.combined(4))
    assert both[1].logprobs == pytest.approx(one.logprobs, abs=1e-5)
    assert both[0].logprobs != pytest.approx(one.logprobs, abs=1e-3)


def test_unknown_method() -> None:
    network = tiny.network()
    with pytest.raises(InputError, match="attention"):
        explain(network, network.encode(image()), None, tiny.IDS, tiny.LENGTHS, "saliency")


def test_true_is_occlusion_and_gradient_where_only_tokens_are_kept() -> None:
    network = tiny.network()
    network.options = replace(network.options, num_beams=1, max_new_tokens=4)
    pixels = image()
    whole = caption_batch(network, pixels, explain=True)
    kept = caption_batch(network, None, explain=True, general_tokens=network.encode(pixels)["general"][0])
    assert [made.explanations[0].method for made in (whole, kept)] == ["occlusion", "gradient"]


def test_occlusion_needs_the_image() -> None:
    network = tiny.network()
    with pytest.raises(InputError, match="only its tokens are kept"):
        explain(network, network.encode(image()), None, tiny.IDS, tiny.LENGTHS, "occlusion")


@pytest.mark.parametrize("method", METHODS)
def test_words_that_name_nothing_visible_have_no_map(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second word is "with"; the maps of the others are those that they have beside any other word."""
    network = tiny.network({"general": tiny.PatchEncoder(), "detail": tiny.PatchEncoder()})
    pixels = image()
    encoded = network.encode(pixels)
    (usual,) = explain(network, encoded, pixels, tiny.IDS, tiny.LENGTHS, method)
    decode = type(network.tokenizer).decode
    monkeypatch.setattr(
        type(network.tokenizer), "decode", lambda *given, **how: decode(*given, **how).replace("w9", "with")
    )
    (found,) = explain(network, encoded, pixels, tiny.IDS, tiny.LENGTHS, method)
    assert found.words == ("w5", "with", "w12") and found.visible == (True, False, True)
    for name, maps in found.maps.items():
        assert float(maps[1].abs().max()) == 0
        torch.testing.assert_close(maps[[0, 2]], usual.maps[name][[0, 2]])
    combined = found.combined(8)
    assert float(combined[1].abs().max()) == 0 and bool(combined.isfinite().all())
    assert found.logprobs == pytest.approx(usual.logprobs)


def test_content_words() -> None:
    words = ("Axial", "CT", "of", "the", "head", "(skull", "and", "contents)", "showing", "-", "bleeding.")
    assert [words[place] for place in content_words(words)] == [
        "Axial", "CT", "head", "(skull", "contents)", "bleeding."
    ]  # fmt: skip


class Pieces:
    """A tokenizer given as pieces of bytes, for the cases that real ones meet."""

    all_special_ids = (99,)

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces

    def decode(self, ids: list[int], **_: bool) -> str:
        return b"".join(self.pieces[i] for i in ids if i != 99).decode("utf-8", errors="replace")


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([b"Ax", b"ial", b" CT", b" of", b" (", b"ga", b"stro", b")", b"."], {
            "Axial": (0, 1), "CT": (2,), "of": (3,), "(gastro).": (5, 6)}),
        ([b"a ", b"b ", b"c"], {"a": (0,), "b": (1,), "c": (2,)}),
        ([b"a", b" ", b"\n", b"b"], {"a": (0,), "b": (3,)}),
        ([b" \xc3", b"\xa9t", b"\xc3\xa9", b" -"], {"été": (0, 1, 2), "-": (3,)}),
        ([b" T2", b"-", b"weighted"], {"T2-weighted": (0, 2)}),
        ([], {}),
    ],
)  # fmt: skip
def test_words_of_pieces(pieces: list[bytes], expected: dict[str, tuple[int, ...]]) -> None:
    ids = [*range(len(pieces)), 99]
    assert {word.text: word.tokens for word in words_of(Pieces(*pieces), ids)} == expected
