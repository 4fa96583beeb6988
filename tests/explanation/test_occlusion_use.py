"""Occlusion as a method: its windows, what fills them, the parts of the branches, several views."""

from __future__ import annotations

import pytest
import tiny_explained as tiny
import torch

from scripts.explanation import explain
from scripts.explanation.occlusion_use import content_of, occlusion_use, surrounded, windows_of
from scripts.explanation.prefix_use import token_logprobs, word_logprobs
from scripts.explanation.words import words_of


def image(views: int = 0, seed: int = 3) -> torch.Tensor:
    shape = (1, views, 3, 16, 16) if views else (1, 3, 16, 16)
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_windows_cover_the_content_and_overlap() -> None:
    content = (10, 20, 110, 220)
    boxes, seen = windows_of(content), torch.zeros(120, 240)
    for top, left, bottom, right in boxes:
        seen[top:bottom, left:right] += 1
    assert len(boxes) == 16
    assert (
        float(seen[10:110, 20:220].min()) == 1 and float(seen.max()) == 4 and seen.sum() == seen[10:110, 20:220].sum()
    )
    inner = boxes[5]
    assert (inner[2] - inner[0], inner[3] - inner[1]) == (30, 60)
    for left, right in ((0, 1), (3, 5)):  # a picture of a few pixels has windows, too
        assert all(b > t and r > le for t, le, b, r in windows_of((0, left, 2, right)))


def test_content_is_what_is_not_the_corners_colour() -> None:
    view = torch.full((3, 64, 64), 0.1)
    assert content_of(view) == (0, 0, 64, 64)
    view[:, 8:40, 16:60] = 0.5
    view[0, 0, 5] += 0.02  # noise of a background
    assert content_of(view) == (8, 16, 40, 60)


def test_a_window_is_filled_with_the_mean_around_it() -> None:
    view = torch.full((3, 32, 32), 0.25)
    view[:, 8:16, 8:16] = 1.0
    view[:, 20, 20] = 0.9
    first, second = surrounded(view, [(8, 8, 16, 16), (0, 0, 4, 4)])
    torch.testing.assert_close(first[:, 8:16, 8:16], torch.full((3, 8, 8), 0.25))
    assert float(first[0, 20, 20]) == pytest.approx(0.9)
    torch.testing.assert_close(second, view)  # as plain as its surroundings


def test_a_place_has_the_mean_fall_of_the_windows_over_it() -> None:
    """Against asking the network itself with each window hidden, window by window."""
    network = tiny.network({"general": tiny.PatchEncoder(), "detail": tiny.PatchEncoder(channel=True)})
    pixels = image()
    words = words_of(network.tokenizer, tiny.IDS[0].tolist())
    boxes = windows_of(content_of(pixels[0]))

    def value(one: torch.Tensor) -> torch.Tensor:
        prefix = network.prefix(network.encode(one[None]))[0]
        return word_logprobs(token_logprobs(network.language_model, prefix, tiny.IDS[0]), words)[0]

    with torch.no_grad():
        logprobs, use = occlusion_use(network, network.encode(pixels), pixels, tiny.IDS[0], words)
        falls = torch.stack([value(pixels[0]) - value(one) for one in surrounded(pixels[0], boxes)])
    torch.testing.assert_close(logprobs, value(pixels[0]), atol=1e-5, rtol=1e-5)
    assert use.shape == (3, 1, 16, 16)
    for row, column in ((0, 0), (4, 4), (7, 11), (15, 2)):  # a place is a pixel here
        over = [number for number, (t, le, b, r) in enumerate(boxes) if t <= row < b and le <= column < r]
        expected = falls[over].mean(0).clamp_min(0)
        torch.testing.assert_close(use[:, 0, row, column], expected, atol=1e-4, rtol=1e-3)
    (found,) = explain(network, network.encode(pixels), pixels, tiny.IDS, tiny.LENGTHS, "occlusion")
    assert list(found.maps) == ["network"] and found.notes == ()  # also where a branch's tokens have no place


def test_copies_are_encoded_in_the_precision_of_the_caption() -> None:
    network, seen = tiny.network(), []
    encoder = network.branches["general"].encoder
    encoder.register_forward_pre_hook(lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    pixels = image()
    encoded = network.encode(pixels)
    seen.clear()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        explain(network, encoded, pixels, tiny.IDS, tiny.LENGTHS, "occlusion")
    assert seen and all(seen)
    seen.clear()
    explain(network, encoded, pixels, tiny.IDS, tiny.LENGTHS, "occlusion")
    assert seen and not any(seen)


def test_only_the_view_that_matters_is_lit() -> None:
    """The other view is plain: hiding parts of it changes nothing. A mask leaves a padded view out."""
    network = tiny.network()
    pixels = image(2)
    pixels[0, 1] = 0.4
    (found,) = explain(network, network.encode(pixels), pixels, tiny.IDS, tiny.LENGTHS, "occlusion")
    shares = found.maps["network"].sum((2, 3))
    assert float(shares[:, 0].min()) > 0.999
    pixels = image(2)
    encoded = network.encode(pixels, torch.tensor([[True, False]]))
    words = words_of(network.tokenizer, tiny.IDS[0].tolist())
    with torch.no_grad():
        _, use = occlusion_use(network, encoded, pixels[0], tiny.IDS[0], words)
    assert float(use[:, 0].sum()) > 0 and float(use[:, 1].abs().max()) < 1e-6
