"""Peaks become boxes, boxes become regions, and both land where the image has something; the way back to the source."""

from __future__ import annotations

import pytest
import tiny_explained as tiny
import torch

from scripts.encoders.efficientnet import EfficientNetEncoder
from scripts.encoders.sam_decoder.decoder_weights import segmenter_for
from scripts.encoders.tiny_vit import TinyViTEncoder
from scripts.errors import WeightsError
from scripts.explanation import explain
from scripts.explanation.geometry import content_box, file_of_view, to_source
from scripts.explanation.masks import word_masks
from scripts.explanation.regions import RegionFinder, peak_box, region_finder, sam_branch
from scripts.windowing.letterbox import letterbox


@pytest.fixture(scope="module")
def encoder() -> TinyViTEncoder:
    try:
        return TinyViTEncoder()
    except WeightsError as error:
        pytest.skip(str(error))


def disc(size: int = 256, centre: tuple[int, int] = (90, 150), radius: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """A soft grey picture with one bright disc, ``[3, size, size]``, and where the disc is."""
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    inside = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2
    grey = 0.15 + 0.05 * torch.sin(rows / 9) + 0.55 * inside
    return grey.expand(3, -1, -1).clone(), inside


def test_a_box_holds_the_cells_around_the_peak() -> None:
    heat = torch.zeros(8, 8)
    heat[2, 5], heat[3, 5], heat[3, 6], heat[7, 0] = 1.0, 0.8, 0.7, 0.9
    box, cells = peak_box(heat, 256)
    assert box == (5 * 32, 2 * 32, 7 * 32 - 1, 4 * 32 - 1)
    assert cells.nonzero().tolist() == [[2, 5], [3, 5], [3, 6]]  # the far cell is high, but apart
    box, cells = peak_box(torch.ones(4, 4), 64)
    assert box == (0, 0, 63, 63) and bool(cells.all())


def test_a_region_is_the_thing_in_the_box(encoder: TinyViTEncoder) -> None:
    """The whole way at once: encoder, box, mask decoder, and the place of the answer."""
    image, inside = disc()
    heat = torch.nn.functional.adaptive_avg_pool2d(inside[None].float(), 16)
    finder = RegionFinder("detail", encoder, segmenter_for(encoder))
    logits = finder.regions(image[None], (heat + 1e-4) / heat.sum())
    assert logits.shape == (1, 1, 256, 256)
    found = logits[0, 0] > 0
    assert float((found & inside).sum() / (found | inside).sum()) > 0.9


def test_views_without_the_peak_have_no_region(encoder: TinyViTEncoder) -> None:
    image, inside = disc()
    heat = torch.nn.functional.adaptive_avg_pool2d(inside[None].float(), 16)[0]
    maps = torch.stack([torch.full_like(heat, 1e-4), heat])[None]
    finder = RegionFinder("detail", encoder, segmenter_for(encoder))
    logits = finder.regions(torch.stack([image.flip(-1), image]), maps / maps.sum())
    assert bool((logits[0, 0] == float("-inf")).all()) and bool((logits[0, 1] > 0).any())


def test_explanations_bring_their_regions(encoder: TinyViTEncoder) -> None:
    network = tiny.network({"general": tiny.PatchEncoder(), "detail": encoder})
    assert sam_branch(network) == "detail"
    image = disc()[0][None]
    (found,) = explain(network, network.encode(image), image, tiny.IDS, tiny.LENGTHS, "gradient")
    assert found.region_branch == "detail"
    assert found.regions.shape == (3, 1, 256, 256) and bool(found.regions.isfinite().all())
    meta = {"resize": {"from": [256, 256], "to": [256, 256], "offset": [0, 0], "size": 256}}
    for mask in word_masks(found, meta):
        assert mask.mask.shape == (256, 256) and mask.mask.any() and mask.source in ("mask decoder", "map")


def test_without_a_fitting_decoder_there_is_a_reason() -> None:
    _, reason = region_finder(tiny.network())
    assert "no branch has a SAM encoder" in reason
    assert sam_branch(tiny.network({"general": EfficientNetEncoder(weights=None)})) is None
    finder, reason = region_finder(tiny.network({"detail": TinyViTEncoder(weights=None)}))
    assert finder is None and "random weights" in reason


@pytest.mark.parametrize("shape", [(60, 90), (90, 60), (64, 64), (700, 333)])
@pytest.mark.parametrize("aspect", [1.0, 1.7])
def test_the_letterbox_is_undone(shape: tuple[int, int], aspect: float) -> None:
    """A ramp along each axis comes back as it was, but for the resampling's rounding at the edges."""
    rows, columns = torch.meshgrid(torch.linspace(0, 1, shape[0]), torch.linspace(0, 1, shape[1]), indexing="ij")
    for ramp in (rows, columns):
        square, record = letterbox(ramp.expand(1, 3, -1, -1), 512, aspect=aspect)
        back = to_source(square[:, 0], record)[0]
        assert back.shape == shape
        inner = (slice(3, -3), slice(3, -3))
        torch.testing.assert_close(back[inner], ramp[inner], atol=4e-3, rtol=0)
    top, left, bottom, right = content_box(record)
    assert [bottom - top, right - left] == record["to"]
    assert max(bottom - top, right - left) == 512


def test_views_are_found_in_their_files() -> None:
    one, many = {"view_count": 1, "path": "a"}, {"view_count": 3, "path": "b"}
    meta = {"path": "a", "views": [one, many]}
    assert [file_of_view(meta, view) for view in range(4)] == [(one, 0), (many, 0), (many, 1), (many, 2)]
    assert file_of_view({"path": "c"}, 0) == ({"path": "c"}, 0)
    with pytest.raises(IndexError):
        file_of_view(meta, 4)
