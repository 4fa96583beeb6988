"""PNG, JPEG, TIFF, BMP, WebP, GIF against Pillow."""

from __future__ import annotations

from pathlib import Path

import made_files
import numpy as np
import pytest
from PIL import Image

from scripts.errors import InputError
from scripts.reading import read_case
from scripts.windowing import window_image

GREY = made_files.phantom(top=255).astype(np.uint8)
COLOUR = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)


@pytest.mark.parametrize("ending", ["png", "tif", "bmp", "webp", "jp2", "jpg"])
def test_colour_files(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    options = {"lossless": True} if ending == "webp" else {}
    Image.fromarray(COLOUR).save(path, **options)
    found = read_case(path).pixels[0].transpose(1, 2, 0)
    np.testing.assert_array_equal(found, np.asarray(Image.open(path)))
    if ending not in ("jpg",):
        np.testing.assert_array_equal(found, COLOUR)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bits_are_kept_and_windowed_by_percentiles(tmp_path: Path, ending: str) -> None:
    deep = (made_files.phantom(top=60000)).astype(np.uint16)
    path = tmp_path / f"a.{ending}"
    Image.fromarray(deep).save(path)
    case = read_case(path)
    np.testing.assert_array_equal(case.pixels[0, 0], deep)
    shown, description = window_image(case.pixels, case.meta)
    low, high = np.percentile(deep, (1, 99))
    np.testing.assert_allclose(shown[0, 0], np.clip((deep - low) / (high - low), 0, 1), atol=1e-5)
    assert description["name"] == "percentiles"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.png"
    Image.fromarray(GREY).save(path, exif=exif)
    turned = {1: GREY, 2: GREY[:, ::-1], 3: GREY[::-1, ::-1], 4: GREY[::-1], 5: GREY.T, 6: np.rot90(GREY, -1),
              7: GREY[::-1, ::-1].T, 8: np.rot90(GREY)}  # fmt: skip
    np.testing.assert_array_equal(read_case(path).pixels[0, 0], turned[orientation])


def test_palette_alpha_bilevel_and_cmyk(tmp_path: Path) -> None:
    indexed = Image.fromarray(COLOUR).quantize(64)
    indexed.save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_case(tmp_path / "p.png").pixels[0].transpose(1, 2, 0),
                                  np.asarray(indexed.convert("RGB")))  # fmt: skip
    alpha = np.full((40, 56), 255, np.uint8)
    Image.fromarray(np.dstack([COLOUR, alpha])).save(tmp_path / "opaque.png")
    np.testing.assert_array_equal(read_case(tmp_path / "opaque.png").pixels[0].transpose(1, 2, 0), COLOUR)
    alpha[:, :28] = 0
    alpha[:, 28:30] = 128
    Image.fromarray(np.dstack([GREY, alpha]), mode="LA").save(tmp_path / "la.png")
    la = read_case(tmp_path / "la.png").pixels[0, 0]
    np.testing.assert_array_equal(la[:, 30:], GREY[:, 30:])
    assert la[:, :28].max() == 0
    np.testing.assert_allclose(la[:, 28:30], GREY[:, 28:30] * (128 / 255), atol=0.5)
    bilevel = Image.fromarray(GREY > 100)
    bilevel.save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_case(tmp_path / "b.png").pixels[0, 0], (GREY > 100) * 255.0)
    Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / "c.tif")
    np.testing.assert_array_equal(read_case(tmp_path / "c.tif").pixels[0].transpose(1, 2, 0), COLOUR)
    Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / "c.jpg", quality=95)
    expected = np.asarray(Image.open(tmp_path / "c.jpg").convert("RGB"))
    np.testing.assert_array_equal(read_case(tmp_path / "c.jpg").pixels[0].transpose(1, 2, 0), expected)


def test_pages_and_frames_take_the_first_unless_told(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.roll(GREY, 5 * k, axis=1)) for k in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    case = read_case(tmp_path / "a.tif")
    np.testing.assert_array_equal(case.pixels[0, 0], GREY)
    assert any("3 pages" in note for note in case.meta["notes"])
    every = read_case(tmp_path / "a.tif", frame="all")
    np.testing.assert_array_equal(every.pixels[:, 0], np.stack([np.asarray(p) for p in pages]))
    pages[0].save(tmp_path / "a.gif", save_all=True, append_images=pages[1:])
    assert read_case(tmp_path / "a.gif", frame=2).pixels.shape[0] == 1


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    Image.new("1", (20000, 20000), 1).save(path)
    assert path.stat().st_size < 200_000
    with pytest.raises(InputError, match="20000 x 20000|absurdly large"):
        read_case(path)


def test_what_a_file_is_shows_in_its_bytes(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png")
    (tmp_path / "named.dcm").write_bytes((tmp_path / "a.png").read_bytes())
    np.testing.assert_array_equal(read_case(tmp_path / "named.dcm").pixels[0, 0], GREY)
