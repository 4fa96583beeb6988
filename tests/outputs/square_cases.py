"""Cases whose explanation points at a known square of the source: where a mask must land is then known to the voxel."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.transforms import Compose

from scripts.explanation import Explanation
from scripts.outputs.captioned_case import CaptionedCase
from scripts.transforms import Letterboxd, LoadCased, WindowToUnitd

WORDS = ("Axial", "CT", "of", "the", "chest.")
DEPTH, HEIGHT, WIDTH = 20, 40, 56
AXIAL_SLICE = 4
SQUARE = (slice(2, 14), slice(8, 17), slice(30, 50))
"""z, y, x of the bright block."""


def block() -> np.ndarray:
    """HU ``[Z, Y, X]``: a dull body without symmetry and one bright block."""
    z, y, x = np.mgrid[0:DEPTH, 0:HEIGHT, 0:WIDTH]
    volume = -200 + (x + 2 * y + 5 * z) % 60
    volume[SQUARE] = 900
    return volume


def case_of(
    source: str | list[str], *, regions: bool = True, size: int = 512, window: str = "400/1300", **reading: Any
) -> CaptionedCase:
    """Read, window and letterbox ``source``; every word rests on what is bright in the square.

    With ``regions`` a mask decoder's logits say so, else the maps of the ``detail`` branch.
    """
    chain = Compose(
        [LoadCased("image", **reading), WindowToUnitd("image", window=window), Letterboxd("image", size=size)]
    )
    item = chain({"image": source})
    image = item["image"] if item["image"].ndim == 4 else item["image"][None]
    bright = image.mean(1)  # [V, S, S]
    maps = torch.nn.functional.adaptive_avg_pool2d((bright > 0.7).float(), 16) + 1e-6
    maps = (maps / maps.sum())[None].expand(len(WORDS), -1, -1, -1)
    maps = maps[:, 0] if len(image) == 1 else maps
    logits = (bright - 0.7)[None].expand(len(WORDS), -1, -1, -1)
    explanation = Explanation(
        words=WORDS,
        logprobs=(-0.1, -0.2, -0.01, -0.01, -1.5),
        maps={"general": torch.full((len(WORDS), *maps.shape[1:-2], 7, 7), 1 / 49 / len(image)), "detail": maps},
        share={"general": torch.full((len(WORDS),), 0.4), "detail": torch.full((len(WORDS),), 0.6)},
        region_branch="detail" if regions else None,
        find_regions=(lambda: logits) if regions else None,
    )
    record = {
        "image": source, "caption": " ".join(WORDS), "token_confidence": 0.5, "model_version": "0.1.0",
        "weights": {"model.pt": "ab" * 32}, "error": None, "trace": {"input": item["image_meta"].record()},
    }  # fmt: skip
    return CaptionedCase(source, record, image, WORDS, explanation)
