"""Calibration study: every image of the section is captioned, also one that a user would not get a caption of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts import BUNDLE
from scripts.errors import InputError
from scripts.studies.calibrate import caption_items


def test_an_image_that_looks_like_nothing_known_is_captioned_too(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    ((record,), _) = caption_items(BUNDLE, [{"image": str(tmp_path / "noise.png")}], {"agreement_samples": 0})
    assert record["caption"] and record["withheld"] is None and record["findings"]


def test_an_unreadable_image_ends_it_by_name(tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(InputError, match="cut.png"):
        caption_items(BUNDLE, [{"image": str(tmp_path / "cut.png")}], {"agreement_samples": 0})
