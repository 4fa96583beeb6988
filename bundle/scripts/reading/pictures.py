"""2-D picture files: PNG, JPEG, TIFF, BMP, WebP, GIF, JPEG 2000, PNM, through Pillow, and by `scripts.reading.tiff`.

Rules
    * EXIF and TIFF orientation are applied. Colour profiles and gamma are not.
    * Palettes become colour, CMYK, YCbCr, LAB and HSV become RGB, black-and-white becomes 0 and 255.
    * Grey is dark where it is low: TIFF pages whose least value is white are inverted, about what their bits can hold.
    * Transparency is laid over black, the colour that letterboxing adds; fully opaque alpha changes nothing.
    * 16-bit and float grey keep their values, 16-bit colour of TIFF too; that of other formats is read at 8 bits, which
      is all that Pillow offers, and noted.
    * Several pages or frames: the first, unless ``frame`` says otherwise; the notes tell how many there are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from scripts.errors import InputError
from scripts.reading.case import CaseImage, base_meta, check_bytes, check_size, finish_case
from scripts.reading.quiet import quiet_warnings
from scripts.reading.slices import Rule, choose
from scripts.reading.tiff import TiffPage, oriented, tiff_pages, upright_copy

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "JPEG2000", "PPM")
_GREY_16 = ("I;16", "I;16L", "I;16B", "I;16N")
_EXACT = 2.0**24
"""Whole numbers that float32 holds exactly."""
_LEVELS = 60_000
"""Span of 32-bit values of which float32 keeps 256 levels or more when they are taken from 2 ** 32."""

View = tuple[np.ndarray, list[float] | None]
"""``[C, H, W]`` and the range that its storage allows (None for float)."""


def read_picture(path: str | Path, *, frame: Rule = "auto") -> CaseImage:
    """A picture file -> `CaseImage` with ``C`` 1 (grey) or 3; values as stored, 0 to 255 in most files.

    Raises:
        InputError: not a picture that Pillow knows, truncated, too large, too small, or blank.
    """
    path = str(path)
    pages = tiff_pages(path)
    with quiet_warnings():  # Pillow's size warning; check_size has the last word
        if pages and pages[0].is_ours:
            return _read_pages(path, _Pages(path, pages), frame)
        with _open(path, pages) as image:
            return _read_pages(path, _Pages(path, pages, image), frame)


def _open(path: str, pages: list[TiffPage]) -> Image.Image:
    turned = any(page.orientation != 1 for page in pages)
    try:
        return Image.open(upright_copy(path, pages) if turned else path, formats=FORMATS)
    except Image.DecompressionBombError:
        raise InputError(f"{path}: the picture's stated size is absurdly large; reduce it first") from None
    except UnidentifiedImageError:
        raise InputError(f"{path}: is not a picture of a known kind ({', '.join(FORMATS)})") from None


class _Pages:
    """The pages of a file, each read by whoever reads it right; notes and what was applied gather in ``meta``."""

    def __init__(self, path: str, tiff: list[TiffPage], image: Image.Image | None = None) -> None:
        self.path, self.tiff, self.image = path, tiff, image
        self.count = len(tiff) if image is None else int(getattr(image, "n_frames", 1))
        self.format = "TIFF" if image is None else image.format

    def size(self, index: int) -> tuple[int, int]:
        """(rows, columns)."""
        page = self.tiff[index] if index < len(self.tiff) else None
        if page is not None and page.is_ours:
            return page.size[::-1] if page.orientation >= 5 else page.size
        image = self._image()
        return image.height, image.width

    def read(self, index: int, meta: dict[str, Any]) -> View:
        page = self.tiff[index] if index < len(self.tiff) else None
        if page is not None and not (page.is_ours and page.one(259, 1) != 1) and page.excess(self.path) > 1:
            meta["notes"].append("the page holds more bytes than its size needs; the first were read")
        if page is not None and page.is_vaguely_subsampled:
            meta["notes"].append("YCbCr colour that does not say how it is subsampled; not at all was assumed")
        if page is not None and page.is_ours:
            check_size(self.path, *page.size)
            return _tiff_view(page, page.read(self.path), meta)
        view, span = _page(self.path, self._image(), index, meta)
        if page is not None and page.orientation != 1:
            meta["luts"].append("EXIF orientation applied")
            view = oriented(view, page.orientation)
        return view, span

    def _image(self) -> Image.Image:
        if self.image is None:
            self.image = _open(self.path, self.tiff)
        return self.image


def _read_pages(path: str, pages: _Pages, frame: Rule) -> CaseImage:
    height, width = pages.size(0)
    check_size(path, height, width)
    reader = "this package's TIFF reader" if pages.image is None else f"Pillow {pages.format}"
    meta = base_meta(path, reader, "picture")

    def fetch(index: int) -> np.ndarray:
        return pages.read(index, base_meta(path, reader, "picture"))[0]

    chosen = choose(pages.count, "first" if frame == "auto" else frame, fetch=fetch, what="frame", path=path)
    check_bytes(path, len(chosen) * height * width * 4)
    if pages.count > 1:
        meta["frame"] = chosen
        if frame == "auto":
            meta["notes"].append(f"the file holds {pages.count} pages or frames; the first was taken")
    views, ranges = zip(*(pages.read(index, meta) for index in chosen), strict=True)
    for key in ("luts", "notes"):
        meta[key] = list(dict.fromkeys(meta[key]))
    meta["value_range"] = max(ranges, key=lambda r: r[1] if r else 0.0)
    is_display = meta["value_range"] == [0.0, 255.0] or (views[0].shape[0] == 3 and meta["value_range"])
    meta["units"] = "display" if is_display else "stored"
    return finish_case(_same_shape(path, list(views)), meta)


def _tiff_view(page: TiffPage, samples: np.ndarray, meta: dict[str, Any]) -> View:
    """Samples ``[H, W, C]`` as stored -> a view: colours chosen, white and black set right, alpha applied, turned."""
    colours = 3 if page.one(262) == 2 else 1
    view = samples[..., :colours].transpose(2, 0, 1)
    if page.is_minimum_white and colours == 1:
        view = _inverted(view, meta)
    span = _range_of(view)
    if page.alpha:
        view = _faded(view, samples[..., colours], page.alpha, meta)
    elif samples.shape[-1] > colours:
        meta["notes"].append(f"each pixel has {samples.shape[-1]} samples; the first {colours} were taken")
    if page.orientation != 1:
        meta["luts"].append("EXIF orientation applied")
    return oriented(view, page.orientation), span


def _inverted(view: np.ndarray, meta: dict[str, Any]) -> np.ndarray:
    """White made high: about the largest value that the bits hold, or, where float32 could not tell such numbers apart
    or there is no largest value, about the picture's own extremes."""
    meta["luts"].append("minimum-is-white inverted")
    low, high = float(view.min()), float(view.max())
    if view.dtype.kind == "u" and (view.dtype.itemsize <= 2 or high - low > _LEVELS):
        return np.iinfo(view.dtype).max - view
    if view.dtype.kind == "i" and max(-low, high) < _EXACT:
        return -1 - view
    meta["notes"].append("white is the least value of this file; it was inverted about its own extremes")
    return low + high - view.astype(np.float64)


def _range_of(view: np.ndarray) -> list[float] | None:
    if view.dtype.kind == "u" and view.dtype.itemsize <= 2:
        return [0.0, float(np.iinfo(view.dtype).max)]
    inside_16 = view.dtype.kind in "iu" and view.min() >= 0 and view.max() <= 65535
    return [0.0, 65535.0] if inside_16 else None


def _faded(view: np.ndarray, alpha: np.ndarray, kind: int, meta: dict[str, Any]) -> np.ndarray:
    """Colours over black; those of ``kind`` 1 have been multiplied by their alpha before."""
    full = float(np.iinfo(alpha.dtype).max) if alpha.dtype.kind in "iu" else 1.0
    if kind == 1 or (alpha == full).all():
        return view
    meta["luts"].append("transparency laid over black")
    faded = view * np.clip(alpha.astype(np.float64) / full, 0.0, 1.0)
    return np.rint(faded).astype(view.dtype) if view.dtype.kind in "iu" else faded


def _page(path: str, image: Image.Image, index: int, meta: dict[str, Any]) -> View:
    """Page ``index`` by Pillow."""
    if index or getattr(image, "n_frames", 1) > 1:
        image.seek(index)
    check_size(path, image.height, image.width)
    deep = _deep_grey_alpha(image, meta)
    try:
        image.load()
    except OSError:
        raise InputError(f"{path}: the {image.format} data is truncated or damaged; export it again") from None
    if deep:
        return _sixteen_bits_over_black(np.asarray(image), meta), [0.0, 65535.0]
    upright = ImageOps.exif_transpose(image)
    if upright.size != image.size or image.getexif().get(0x0112, 1) != 1:
        meta["luts"].append("EXIF orientation applied")
    if upright.mode in _GREY_16:
        return np.asarray(upright).astype(np.uint16)[None], [0.0, 65535.0]
    if upright.mode in ("I", "F"):
        array = np.asarray(upright)
        return array[None], _range_of(array) if array.dtype.kind == "i" else None
    return _to_bytes(upright, meta), [0.0, 255.0]


def _deep_grey_alpha(image: Image.Image, meta: dict[str, Any]) -> bool:
    """Have Pillow unpack a PNG of 16-bit grey and alpha as four bytes a pixel, of which it would drop every second."""
    raw = image.tile[0].args if image.format == "PNG" and len(image.tile) == 1 else None
    if raw in ("RGB;16B", "RGBA;16B"):
        meta["notes"].append("the file has colours of 16 bits; they were read at 8 bits")
    if raw != "LA;16B":
        return False
    image._mode = "RGBA"  # four bytes a pixel: grey and alpha, high byte first
    image.tile = [image.tile[0]._replace(args="RGBA")]
    return True


def _sixteen_bits_over_black(packed: np.ndarray, meta: dict[str, Any]) -> np.ndarray:
    """``[H, W, 4]`` bytes of big-endian grey and alpha -> ``[1, H, W]``."""
    both = np.ascontiguousarray(packed).view(">u2").astype(np.uint16)
    return _faded(both[None, ..., 0], both[..., 1], 2, meta)


def _to_bytes(image: Image.Image, meta: dict[str, Any]) -> np.ndarray:
    """Any 8-bit (or less) mode as uint8 ``[1 or 3, H, W]``."""
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return _over_black(image, meta["luts"])
    if image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("L", "RGB"):
        meta["luts"].append(f"{image.mode} converted to RGB")
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
