"""The Slicer extension's icon and the pictures of its sample images.

.venv/bin/python tools/docs/slicer_icons.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

EXTENSION = Path(__file__).resolve().parents[2] / "integrations" / "slicer" / "ImageCaptioning"
ICONS = EXTENSION / "ImageCaptioning" / "Resources" / "Icons"
sys.path.insert(0, str(EXTENSION / "ImageCaptioning"))

from ImageCaptioningLib.images import samples  # noqa: E402

SIDE, FINER = 128, 8
THUMBNAIL = (260, 280)


def icon() -> Image.Image:
    """A slice of a head in a speech bubble, above three lines of text."""
    size = SIDE * FINER
    made = Image.new("RGBA", (size, size))
    draw = ImageDraw.Draw(made)

    def box(left: float, top: float, right: float, bottom: float) -> list[float]:
        return [size * part for part in (left, top, right, bottom)]

    draw.rounded_rectangle(box(0.03, 0.03, 0.97, 0.80), size * 0.12, fill=(32, 74, 116, 255))
    draw.polygon([(size * x, size * y) for x, y in ((0.18, 0.78), (0.42, 0.78), (0.16, 0.98))], fill=(32, 74, 116, 255))
    draw.ellipse(box(0.10, 0.13, 0.50, 0.70), fill=(236, 240, 243, 255))
    draw.ellipse(box(0.135, 0.17, 0.465, 0.66), fill=(122, 136, 148, 255))
    for left, right in ((0.215, 0.285), (0.315, 0.385)):
        draw.ellipse(box(left, 0.31, right, 0.49), fill=(46, 56, 66, 255))
    draw.ellipse(box(0.335, 0.49, 0.425, 0.59), fill=(255, 176, 32, 255))
    for top, right in ((0.19, 0.90), (0.345, 0.84), (0.50, 0.90)):
        draw.rounded_rectangle(box(0.57, top, right, top + 0.085), size * 0.04, fill=(255, 255, 255, 255))
    draw.rounded_rectangle(box(0.57, 0.50, 0.72, 0.585), size * 0.04, fill=(255, 176, 32, 255))
    return made.resize((SIDE, SIDE), Image.LANCZOS)


def thumbnail(pixels: np.ndarray) -> Image.Image:
    """Grey or colour ``[H, W(, 3)]`` on black, 260 x 280."""
    picture = Image.fromarray(pixels.astype(np.uint8)).convert("RGB")
    picture.thumbnail(THUMBNAIL)
    picture = picture.resize((THUMBNAIL[0], round(picture.height * THUMBNAIL[0] / picture.width)), Image.BICUBIC)
    made = Image.new("RGB", THUMBNAIL)
    made.paste(picture, (0, (THUMBNAIL[1] - picture.height) // 2))
    return made


def window(values: np.ndarray, centre: float, width: float) -> np.ndarray:
    return 255 * np.clip((values - centre) / width + 0.5, 0, 1)


def main() -> None:
    icon().save(ICONS / "ImageCaptioning.png", optimize=True)
    icon().save(EXTENSION / "ImageCaptioning.png", optimize=True)
    ct, pet = window(samples.body()[24], -100, 1200), window(samples.uptake()[24], 4, 8)
    hot = np.stack([np.clip(3 * pet - 255 * shift, 0, 255) for shift in (0, 1, 2)], -1)
    pictures = {
        "MadeChestCT": ct,
        "MadeChestPETCT": 0.6 * ct[..., None] + 0.7 * hot,
        "MadeChestFilm": samples.film(),
        "MadeHeart": window(samples.frames()[0][5], 300, 700),
    }
    for name, pixels in pictures.items():
        thumbnail(np.clip(pixels, 0, 255)).save(ICONS / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
