"""Files that stand each for a kind that readers get wrong, with what is right written down when they were made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scripts.data.datalist import load_datalist
from scripts.errors import InputError
from scripts.reading import read_case
from scripts.windowing import window_image

PIXELS = {
    "jpg_planar1.dcm": 25, "enh1": 1e-3, "ct_comma_i.dcm": 1e-3, "pic_exif6.tif": 1, "pic_m16.tif": 1e-3,
    "vol_rgb2d.mha": 1e-3, "vol_rgb2d.nii.gz": 1e-3, "ml12.dcm": 1e-3, "vlsu.dcm": 1e-3, "vl8w.dcm": 1e-3, "s2": 1e-3,
    "vol_szero.nii": 1e-3, "rgbnp.dcm": 1e-3, "JPLL_1.dcm": 12,
}  # fmt: skip
REFUSED = {
    "corrupt.nii.gz": "checksum", "x.seg.nrrd": "is a segmentation, not an image", "ct_slope0.dcm": "RescaleSlope is 0",
    "ts_Philips_ELE_priv.dcm": "private to a manufacturer", "mm.dcm": r"compressed \(RLE\)",
}  # fmt: skip


@pytest.fixture(scope="session")
def cases(shared_data: Path) -> Path:
    folder = shared_data / "cases"
    if not folder.is_dir():
        pytest.skip("the shared cases are not on this machine")
    return folder


@pytest.mark.parametrize("name", PIXELS)
def test_pixels(cases: Path, name: str) -> None:
    expected = np.load(cases / f"{name}.npz")["e"]
    found = read_case(cases / name).pixels[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=PIXELS[name])


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_reason(cases: Path, name: str) -> None:
    with pytest.raises(InputError, match=REFUSED[name]):
        read_case(cases / name)


def test_windows_and_planes(cases: Path) -> None:
    film = read_case(cases / "film2d.mha")
    assert film.meta["orientation"]["known"] is False
    capture = read_case(cases / "sc_ct.dcm")
    assert window_image(capture.pixels, capture.meta)[1]["text"].startswith("as stored")
    padded = read_case(cases / "pad_us_mr.dcm")
    shown = window_image(padded.pixels, padded.meta)[1]
    assert shown["low"] >= 0 and shown["high"] <= 1000
    framed = read_case(cases / "perframevoi.dcm", slice="most_informative")
    assert window_image(framed.pixels, framed.meta)[1]["centre"] == 500 + 100 * framed.meta["slice"][0]


def test_the_whole_of_a_small_slide(cases: Path) -> None:
    assert read_case(cases / "sm.dcm").pixels.shape == (1, 3, 128, 96)


def test_datalists(cases: Path) -> None:
    with pytest.raises(InputError, match="back-slashes"):
        load_datalist(cases / "winpath.json", section="training", dataset_dir=cases)
    read = load_datalist(cases / "utf16.json", section="training", dataset_dir=cases, check_files=False)
    assert len(read) == 1
