"""The overlay PNG: heat and outline stand where they belong, whatever the shape of the image and the caption."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_files import ct_slice, save
from matplotlib.figure import Figure
from PIL import Image
from square_cases import AXIAL_SLICE, SQUARE, WORDS, block, case_of

from scripts.errors import InputError
from scripts.outputs.overlay import OverlayWriter, draw_overlay


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory):
    path = save(tmp_path_factory.mktemp("dicom") / "chest slice.dcm", ct_slice(block()[AXIAL_SLICE], 30.0))
    return case_of(str(path), size=256)


def tiles(figure: Figure) -> list:
    """Axes that show a picture with a word above."""
    return [axes for axes in figure.axes if axes.get_title() and axes.images][1:]


def test_heat_lies_on_the_block(case) -> None:
    figure = draw_overlay(case)
    shown = tiles(figure)
    assert [axes.get_title() for axes in shown] == ["Axial", "CT", "chest"] * 2
    general, detail = shown[0], shown[3]
    picture = np.asarray(detail.images[0].get_array())
    # the picture is the slice without its padding: 40 rows of 0.8 mm by 56 columns of 0.6 mm
    assert picture.shape[1] == 256 and picture.shape[0] == pytest.approx(256 * 32 / 33.6, abs=1)
    colour = picture.max(-1) - picture.min(-1)
    rows = slice(*(round((edge * 0.8) * 256 / 33.6) for edge in (SQUARE[1].start, SQUARE[1].stop)))
    columns = slice(*(round((edge * 0.6) * 256 / 33.6) for edge in (SQUARE[2].start, SQUARE[2].stop)))
    inside = np.zeros(colour.shape, bool)
    inside[rows, columns] = True
    assert colour[inside].mean() > 0.3 and colour[~inside].mean() < 0.08
    assert np.asarray(general.images[0].get_array()).std(-1).max() < 1e-6  # an even map draws no heat


def test_the_outline_is_the_region(case) -> None:
    detail = tiles(draw_overlay(case))[3]
    (outline,) = [collection for collection in detail.collections if len(collection.get_paths())]
    corners = np.concatenate([path.vertices for path in outline.get_paths()])
    scale = 256 / 33.6
    low, high = corners.min(0), corners.max(0)
    np.testing.assert_allclose(low, [SQUARE[2].start * 0.6 * scale, SQUARE[1].start * 0.8 * scale], atol=4)
    np.testing.assert_allclose(high, [SQUARE[2].stop * 0.6 * scale, SQUARE[1].stop * 0.8 * scale], atol=4)


def test_writer(case, tmp_path: Path) -> None:
    writer = OverlayWriter(output_dir=tmp_path)
    (first,), (second,) = writer.add(case), writer.add(case)
    assert first == tmp_path / "overlay" / "chest_slice.png" and second.name == "chest_slice_2.png"
    assert first.read_bytes() == second.read_bytes()
    with Image.open(first) as picture:
        assert picture.format == "PNG" and min(picture.size) > 300
    (every,) = OverlayWriter(output_dir=tmp_path / "all", all_words=True).add(case)
    with Image.open(every) as wide, Image.open(first) as narrow:
        assert wide.size[0] > narrow.size[0]
    assert writer.finish() == []
    assert writer.add(replace(case, record={**case.record, "error": "unreadable"}, explanation=None)) == []


def test_refusals_and_blank_images(case, tmp_path: Path) -> None:
    writer = OverlayWriter(output_dir=tmp_path)
    with pytest.raises(InputError, match="set explain to true"):
        writer.add(replace(case, explanation=None))
    notes = ("the detail branch has no map: its tokens are channels",)
    with pytest.raises(InputError, match="no map"):
        writer.add(replace(case, explanation=replace(case.explanation, maps={}, notes=notes)))
    with pytest.raises(InputError, match="caption is empty"):
        writer.add(replace(case, explanation=replace(case.explanation, words=())))
    none = torch.full((len(WORDS), 1, 64, 64), -1.0)
    blank = replace(
        case, image=torch.zeros_like(case.image), explanation=replace(case.explanation, find_regions=lambda: none)
    )
    assert writer.add(blank)[0].is_file()
