"""2-D picture files: PNG, JPEG, TIFF, BMP, WebP, GIF, JPEG 2000, PNM, through Pillow.

Rules
    * EXIF orientation is applied. Colour profiles and gamma are not.
    * Palettes become colour, CMYK, YCbCr, LAB and HSV become RGB, black-and-white becomes 0 and 255.
    * Transparency is laid over black, the colour that letterboxing adds; fully opaque alpha changes nothing.
    * 16-bit and float grey keep their values; 16-bit colour is read at 8 bits, which is all that Pillow offers.
    * Several pages or frames: the first, unless ``frame`` says otherwise; the notes tell how many there are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from scripts.errors import InputError
from scripts.reading.case import CaseImage, base_meta, check_bytes, check_size, finish_case
from scripts.reading.quiet import quiet_warnings
from scripts.reading.slices import Rule, choose

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "JPEG2000", "PPM")
_GREY_16 = ("I;16", "I;16L", "I;16B", "I;16N")


def read_picture(path: str | Path, *, frame: Rule = "auto") -> CaseImage:
    """A picture file -> `CaseImage` with ``C`` 1 (grey) or 3; values as stored, 0 to 255 in most files.

    Raises:
        InputError: not a picture that Pillow knows, truncated, too large, too small, or blank.
    """
    path = str(path)
    with quiet_warnings():  # Pillow's size warning; check_size has the last word
        try:
            image = Image.open(path, formats=FORMATS)
        except Image.DecompressionBombError:
            raise InputError(f"{path}: the picture's stated size is absurdly large; reduce it first") from None
        except UnidentifiedImageError:
            raise InputError(f"{path}: is not a picture of a known kind ({', '.join(FORMATS)})") from None
        with image:
            return _read_pages(path, image, frame)


def _read_pages(path: str, image: Image.Image, frame: Rule) -> CaseImage:
    check_size(path, image.height, image.width)
    count = int(getattr(image, "n_frames", 1))
    meta = base_meta(path, f"Pillow {image.format}", "picture")

    def fetch(index: int) -> np.ndarray:
        return _page(path, image, index, [])[0]

    chosen = choose(count, "first" if frame == "auto" else frame, fetch=fetch, what="frame", path=path)
    check_bytes(path, len(chosen) * image.height * image.width * 4)
    if count > 1:
        meta["frame"] = chosen
        if frame == "auto":
            meta["notes"].append(f"the file holds {count} pages or frames; the first was taken")
    views, ranges = zip(*(_page(path, image, index, meta["luts"]) for index in chosen), strict=True)
    meta["luts"] = list(dict.fromkeys(meta["luts"]))
    meta["value_range"] = max(ranges, key=lambda r: r[1] if r else 0.0)
    meta["units"] = "display" if meta["value_range"] == [0.0, 255.0] else "stored"
    return finish_case(_same_shape(path, list(views)), meta)


def _page(path: str, image: Image.Image, index: int, luts: list[str]) -> tuple[np.ndarray, list[float] | None]:
    """Page ``index`` as ``[C, H, W]`` and the range that its storage allows (None for float)."""
    if index or getattr(image, "n_frames", 1) > 1:
        image.seek(index)
    check_size(path, image.height, image.width)
    try:
        image.load()
    except OSError:
        raise InputError(f"{path}: the {image.format} data is truncated or damaged; export it again") from None
    upright = ImageOps.exif_transpose(image)
    if upright.size != image.size or image.getexif().get(0x0112, 1) != 1:
        luts.append("EXIF orientation applied")
    if upright.mode in _GREY_16:
        return np.asarray(upright).astype(np.uint16)[None], [0.0, 65535.0]
    if upright.mode in ("I", "F"):
        array = np.asarray(upright)
        inside_16 = array.dtype.kind == "i" and array.min() >= 0 and array.max() <= 65535
        return array[None], [0.0, 65535.0] if inside_16 else None
    return _to_bytes(upright, luts), [0.0, 255.0]


def _to_bytes(image: Image.Image, luts: list[str]) -> np.ndarray:
    """Any 8-bit (or less) mode as uint8 ``[1 or 3, H, W]``."""
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return _over_black(image, luts)
    if image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("L", "RGB"):
        luts.append(f"{image.mode} converted to RGB")
        image = image.convert("RGB")
    array = np.asarray(image)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def _over_black(image: Image.Image, luts: list[str]) -> np.ndarray:
    grey = image.mode in ("L", "LA", "La", "1", "I")
    array = np.asarray(image.convert("LA" if grey else "RGBA")).transpose(2, 0, 1)
    colour, alpha = array[:-1], array[-1]
    if (alpha == 255).all():
        return colour
    luts.append("transparency laid over black")
    return np.rint(colour * (alpha.astype(np.float32) / 255.0)).astype(np.uint8)


def _same_shape(path: str, views: list[np.ndarray]) -> list[np.ndarray]:
    """Grey pages among colour ones become colour; pages of different sizes cannot be one case."""
    if len({view.shape[1:] for view in views}) > 1:
        raise InputError(f"{path}: its pages have different sizes; choose one with frame=")
    if len({view.shape[0] for view in views}) > 1:
        views = [np.repeat(view, 3, axis=0) if view.shape[0] == 1 else view for view in views]
    return views
