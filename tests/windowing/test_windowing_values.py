"""Windows: presets, automatic choices, composites, MR, X-ray borders."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.errors import InputError
from scripts.windowing import COMPOSITES, CT_PRESETS, window_image
from scripts.windowing.projection import inside_collimation

CT = {"path": "a.dcm", "kind": "dicom", "modality": "CT", "units": "HU"}


def _hu(height: int = 64, width: int = 64) -> np.ndarray:
    return np.linspace(-1100, 2100, height * width, dtype=np.float32).reshape(1, 1, height, width)


@pytest.mark.parametrize("name", list(CT_PRESETS))
def test_preset_is_linear_between_its_ends(name: str) -> None:
    window = CT_PRESETS[name]
    hu = _hu()
    shown, description = window_image(hu, CT, name)
    expected = np.clip((hu - (window.centre - window.width / 2)) / window.width, 0, 1)
    np.testing.assert_allclose(shown, np.repeat(expected, 3, axis=1), atol=2e-6)
    assert shown.dtype == np.float32 and shown.shape == (1, 3, 64, 64)
    assert description["name"] == name and f"{window.centre:g}/{window.width:g} HU" in description["text"]


def test_presets_asked_for_by_name_are_there() -> None:
    assert {"lung", "mediastinum", "abdomen", "liver", "bone", "brain", "subdural", "stroke"} <= set(CT_PRESETS)


@pytest.mark.parametrize("asked", ["composite", "lung+mediastinum+bone"])
def test_three_windows_are_three_channels(asked: str) -> None:
    hu = _hu()
    shown, description = window_image(hu, CT, asked)
    for channel, name in enumerate(COMPOSITES["composite"]):
        np.testing.assert_array_equal(shown[:, channel], window_image(hu, CT, name)[0][:, 0])
    assert len(description["channels"]) == 3


@pytest.mark.parametrize("asked", ["40/400", (40, 400), [40, 400]])
def test_custom_window(asked: object) -> None:
    shown, _ = window_image(_hu(), CT, asked)  # type: ignore[arg-type]
    np.testing.assert_allclose(shown[:, :1], np.clip((_hu() + 160) / 400, 0, 1), atol=2e-6)


@pytest.mark.parametrize("asked", ["lungs", "40/0", "40/-1", "a/b", "lung+bone", "percentiles:9,1", "nan/5", 7, "n4"])
def test_impossible_windows_are_refused(asked: object) -> None:
    with pytest.raises(InputError, match=r"a\.dcm"):
        window_image(_hu(), CT, asked)  # type: ignore[arg-type]


def _slice(kind: str) -> np.ndarray:
    """HU of a slice: a disc of tissue in air, with lungs, or a skull around it, or mostly bone."""
    y, x = np.mgrid[-64:64, -64:64]
    r = np.hypot(x, y)
    noise = np.random.default_rng(0).normal(0, 8, r.shape)
    hu = np.full(r.shape, -1000.0)
    if kind == "head":
        hu[r < 50], hu[r < 44] = 900, 35
    elif kind == "chest":
        hu[r < 58], hu[r < 55] = -90, 45
        hu[(np.hypot(x - 26, y) < 24) | (np.hypot(x + 26, y) < 24)] = -850
    elif kind == "belly":
        hu[r < 58], hu[r < 48] = -100, 55
    else:
        hu[r < 30], hu[r < 26] = 40, 700
    return (hu + noise).astype(np.float32)[None, None]


@pytest.mark.parametrize(
    ("kind", "expected"), [("head", "brain"), ("chest", "lung"), ("belly", "soft_tissue"), ("knee", "bone")]
)
def test_auto_reads_hounsfield_statistics(kind: str, expected: str) -> None:
    assert window_image(_slice(kind), CT)[1]["name"] == expected


def test_auto_prefers_the_files_window_then_the_description_then_the_body_part() -> None:
    chest = _slice("chest")
    own = {"voi": [{"centre": 30.0, "width": 300.0, "function": "LINEAR"}], "window_hint": "liver", "body_part": "head"}
    assert window_image(chest, {**CT, **own})[1]["text"].startswith("file 30/300")
    absurd = {**own, "voi": [{"centre": 20000.0, "width": 10.0, "function": "LINEAR"}]}
    assert window_image(chest, {**CT, **absurd})[1]["name"] == "liver"
    assert window_image(chest, {**CT, "body_part": "head"})[1]["name"] == "brain"


def test_padding_does_not_count_as_tissue() -> None:
    padded = _slice("head")
    padded[..., :10, :] = -900  # a padding value that looks like lung
    meta = {**CT, "padding": [-900.0, -900.0]}
    assert window_image(padded, meta)[1]["name"] == "brain"


def test_mr_percentiles_are_robust_to_a_hot_pixel() -> None:
    image = np.random.default_rng(0).normal(500, 100, (1, 1, 64, 64)).astype(np.float32)
    hot = image.copy()
    hot[0, 0, 0, 0] = 1e6
    meta = {"path": "a.dcm", "modality": "MR", "units": "stored"}
    np.testing.assert_allclose(window_image(hot, meta)[0][..., 1:], window_image(image, meta)[0][..., 1:], atol=0.02)
    low, high = np.percentile(image, (1, 99))
    expected = np.clip((image - low) / (high - low), 0, 1)
    np.testing.assert_allclose(window_image(image, meta)[0][:, :1], expected, atol=1e-5)


def _film() -> np.ndarray:
    film = np.random.default_rng(0).normal(2000, 150, (1, 1, 200, 160)).astype(np.float32)
    film[..., :30, :] = film[..., -20:, :] = film[..., :25] = 4095
    return film


def test_collimation_borders_do_not_enter_the_statistics() -> None:
    film = _film()
    keep = inside_collimation(film)
    assert keep[0, 0, 30:180, 25:].all() and not keep[0, 0, :30].any() and not keep[0, 0, :, :25].any()
    shown, description = window_image(film, {"path": "a.dcm", "modality": "XR", "units": "stored"})
    inner = film[0, 0, 30:180, 25:]
    low, high = np.percentile(inner, (0.5, 99.5))
    assert abs(description["low"] - low) < 20 and abs(description["high"] - high) < 20
    assert shown[0, 0, 30:180, 25:].std() > 0.15  # with the borders in, the film would be squeezed to a tenth


def test_a_useless_window_of_a_film_is_not_used() -> None:
    film = _film()
    voi = [{"centre": 9e4, "width": 10.0, "function": "LINEAR"}]
    meta = {"path": "a", "modality": "XR", "units": "stored", "voi": voi}
    assert "the file's window" not in window_image(film, meta)[1]["text"]


def test_colour_and_eight_bits_are_left_as_they_are() -> None:
    colour = np.random.default_rng(0).integers(0, 256, (1, 3, 32, 32)).astype(np.float32)
    meta = {"path": "a", "modality": "US", "units": "display", "value_range": [0.0, 255.0]}
    np.testing.assert_array_equal(window_image(colour, meta)[0], colour / np.float32(255))


def test_n4_flattens_a_bias_field() -> None:
    pytest.importorskip("itk")
    y, x = np.mgrid[0:128, 0:128] / 128
    tissue = np.where(np.hypot(x - 0.5, y - 0.5) < 0.42, 100.0, 0.0)
    biased = (tissue * (0.5 + x) * (0.7 + 0.6 * y)).astype(np.float32)[None, None]
    meta = {"path": "a", "modality": "MR", "units": "stored"}
    inside = np.hypot(x - 0.5, y - 0.5) < 0.38
    before, after = (window_image(biased, meta, name)[0][0, 0][inside] for name in ("auto", "n4"))
    assert after.std() / after.mean() < 0.4 * before.std() / before.mean()
