"""LoadCased, WindowToUnitd, Letterboxd."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.transforms import Compose
from PIL import Image

from scripts.errors import InputError
from scripts.transforms import Letterboxd, LoadCased, WindowToUnitd
from scripts.windowing import letterbox

CHAIN = Compose([LoadCased("image"), WindowToUnitd("image"), Letterboxd("image", size=64)])


def _save(path: Path, array: np.ndarray) -> str:
    Image.fromarray(array).save(path)
    return str(path)


def test_eight_bit_picture_is_divided_by_255_and_centred(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (64, 32), np.uint8)
    item = CHAIN({"image": _save(tmp_path / "a.png", grey)})
    image = item["image"]
    assert image.shape == (3, 64, 64) and image.dtype == torch.float32 and image.is_contiguous()
    for channel in image:
        np.testing.assert_array_equal(channel[:, 16:48].numpy(), (grey / np.float32(255)).astype(np.float32))
    assert image[:, :, :16].abs().max() == 0 and image[:, :, 48:].abs().max() == 0
    assert item["image_meta"].views[0]["resize"] == {"from": [64, 32], "to": [64, 32], "offset": [0, 16], "size": 64}


def test_letterbox_shrinks_as_pillow_does() -> None:
    grey = np.random.default_rng(1).integers(0, 256, (90, 150), np.uint8)
    image = torch.from_numpy(grey / np.float32(255))[None, None].expand(1, 3, -1, -1)
    boxed, record = letterbox(image, 50)
    rows, columns = record["to"]
    assert (rows, columns) == (30, 50)
    expected = np.asarray(Image.fromarray(grey).resize((50, 30), Image.Resampling.BILINEAR), np.float32) / 255
    top = record["offset"][0]
    assert np.abs(boxed[0, 0, top : top + rows].numpy() - expected).max() < 1.01 / 255  # Pillow rounds to 8 bits


def test_letterbox_keeps_a_thin_image_and_physical_proportions() -> None:
    image = torch.rand(1, 3, 40, 100)
    boxed, record = letterbox(image, 100, aspect=5.0)  # pixels five times taller than wide: 200 x 100 in millimetres
    assert record["to"] == [100, 50] and boxed.shape == (1, 3, 100, 100)
    _, record = letterbox(torch.rand(1, 3, 16, 6000), 512)
    assert record["to"] == [1, 512]


def test_several_paths_become_views(tmp_path: Path) -> None:
    generator = np.random.default_rng(2)
    sizes = [(40, 64), (64, 40), (64, 64)]
    paths = [_save(tmp_path / f"{i}.png", generator.integers(0, 256, s, np.uint8)) for i, s in enumerate(sizes)]
    item = CHAIN({"image": paths})
    assert item["image"].shape == (3, 3, 64, 64)
    for index, path in enumerate(paths):
        torch.testing.assert_close(item["image"][index], CHAIN({"image": path})["image"])
    assert [v["resize"]["from"] for v in item["image_meta"].views] == [list(s) for s in sizes]


def test_empty_list_and_hounsfield_preset_on_a_photograph_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="empty"):
        LoadCased("image")({"image": []})
    path = _save(tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (64, 32), np.uint8))
    loaded = LoadCased("image")({"image": path})
    with pytest.raises(InputError, match="Hounsfield"):
        WindowToUnitd("image", window="lung")(loaded)


def test_explicit_window_on_a_photograph_is_in_stored_values(tmp_path: Path) -> None:
    grey = np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))
    chain = Compose([LoadCased("image"), WindowToUnitd("image", window="100/100")])
    image = chain({"image": _save(tmp_path / "a.png", grey)})["image"]
    np.testing.assert_allclose(image[0].numpy(), np.clip((grey.astype(float) - 50) / 100, 0, 1), atol=1e-6)
