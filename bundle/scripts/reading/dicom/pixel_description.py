"""Description of stored pixels (PS3.3 C.7.6.3): the header's, completed and corrected where it cannot be.

What a compressed frame says of itself wins over the header. Whatever had to be believed instead of read is a note.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pydicom

from scripts.errors import InputError
from scripts.reading.dicom.attributes import number, safe, whole, word
from scripts.reading.dicom.codestream import Codestream

_KEYWORDS = {"PixelData": 0, "FloatPixelData": 32, "DoubleFloatPixelData": 64}
_GREY = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "YBR_PARTIAL_420", "YBR_PARTIAL_422")


@dataclass
class PixelDescription:
    """Fields are named as the header's; ``high_bit`` is None where the header has none, ``precision`` the bits that a
    compressed image states for itself (0: it states none)."""

    keyword: str
    rows: int
    columns: int
    frames: int
    samples: int
    photometric: str
    allocated: int
    stored: int
    high_bit: int | None
    signed: bool
    planar: int
    notes: list[str] = field(default_factory=list)
    precision: int = 0

    @property
    def is_float(self) -> bool:
        return self.keyword != "PixelData"

    @property
    def frame_bytes(self) -> float:
        """Bytes of one uncompressed frame."""
        samples = 2 if self.photometric == "YBR_FULL_422" else self.samples
        return self.rows * self.columns * samples * self.allocated / 8


def describe_pixels(dataset: pydicom.Dataset, encoded: Codestream | None, native: bool, name: str) -> PixelDescription:
    """The description that pixels are decoded with.

    Args:
        dataset: with pixel data and a size that was checked.
        encoded: what the compressed frame says of itself, where it says anything.
        native: the pixel data is not compressed, so that its length tells.
        name: the file, for messages.

    Raises:
        InputError: the layout is one that is not read, or cannot be told.
    """
    notes: list[str] = []
    keyword = next(key for key in _KEYWORDS if key in dataset)
    samples, photometric = _colour(dataset, encoded, notes)
    made = PixelDescription(
        keyword, whole(dataset, "Rows"), whole(dataset, "Columns"), max(1, whole(dataset, "NumberOfFrames", 1)),
        samples, photometric, 0, 0, None, False, 0, notes,
    )  # fmt: skip
    _bits(dataset, made, encoded, native, name)
    _planar(dataset, made, native)
    if native and not made.is_float:
        _fit_length(dataset, made, name)
    if made.samples not in (1, 3) or made.photometric.startswith("YBR_PARTIAL"):
        raise InputError(
            f"{name}: has {made.samples} samples a pixel as {made.photometric or 'an unnamed colour'}, which is not "
            "read; "
            "export it again as RGB or grey"
        )
    return made


def _colour(dataset: pydicom.Dataset, encoded: Codestream | None, notes: list[str]) -> tuple[int, str]:
    """(samples a pixel, photometric interpretation), made to agree."""
    said = word(dataset, "PhotometricInterpretation")
    samples = whole(dataset, "SamplesPerPixel")
    if encoded and encoded.components and encoded.components != samples:
        if samples:
            notes.append(
                f"the header says {samples} samples a pixel, the compressed image {encoded.components}: believed"
            )
        samples = encoded.components
    if not samples:
        samples = 3 if said in _COLOUR else 1
        notes.append(f"the header does not say how many samples a pixel has; {samples} was assumed")
    known = _GREY if samples == 1 else _COLOUR
    photometric = said
    if said not in known and samples in (1, 3):
        photometric = "MONOCHROME2" if samples == 1 else "RGB"
        what = (
            "does not name its photometric interpretation"
            if not said
            else "names a colour that its samples do not have"
        )
        notes.append(f"the header {what}; {photometric} was assumed")
    if encoded and encoded.colour_transform and photometric not in ("YBR_ICT", "YBR_RCT"):
        if photometric.startswith("YBR"):
            notes.append(
                f"the header says {photometric}, the compressed image transforms its colour itself: RGB was read"
            )
        photometric = "YBR_RCT" if samples == 3 else photometric
    return samples, photometric


def _bits(
    dataset: pydicom.Dataset, made: PixelDescription, encoded: Codestream | None, native: bool, name: str
) -> None:
    precision = encoded.precision if encoded else 0
    if made.is_float:
        made.allocated = made.stored = _KEYWORDS[made.keyword]
        return
    made.allocated = whole(dataset, "BitsAllocated") or _allocated(dataset, made, precision, native)
    if made.allocated != 1 and (made.allocated % 8 or not 8 <= made.allocated <= 64):
        raise InputError(f"{name}: allocates {made.allocated} bits a sample; 1, 8, 16, 32 and 64 are read")
    stored = whole(dataset, "BitsStored")
    if precision > made.allocated:
        made.notes.append(f"the header allocates {made.allocated} bits, the compressed image has {precision}: believed")
        made.allocated = 16 if precision <= 16 else 32
    if not 1 <= stored <= made.allocated:
        why = "does not say how many bits are stored" if not stored else f"says {stored} bits are stored"
        stored = precision or made.allocated
        made.notes.append(f"the header {why}; {stored} was assumed")
    made.stored, made.precision = stored, precision
    high = number(dataset, "HighBit")
    made.high_bit = None if high is None else int(high)
    _sign(dataset, made, encoded)


def _allocated(dataset: pydicom.Dataset, made: PixelDescription, precision: int, native: bool) -> int:
    if native and isinstance(data := safe(dataset, made.keyword), bytes):
        samples = made.rows * made.columns * made.frames * made.samples
        bits = next((b for b in (8, 16, 32) if 0 <= len(data) - samples * b // 8 <= 1), 0)
    else:
        bits = 0 if not precision else 8 if precision <= 8 else 16
    bits = bits or (8 if made.samples == 3 else 16)
    made.notes.append(f"the header does not say how many bits a sample takes; {bits} was assumed")
    return bits


def _sign(dataset: pydicom.Dataset, made: PixelDescription, encoded: Codestream | None) -> None:
    said = number(dataset, "PixelRepresentation")
    made.signed = said == 1
    if said not in (0, 1):
        made.signed = bool(encoded and encoded.signed)
        kind = "signed" if made.signed else "unsigned"
        made.notes.append(f"the header does not say whether pixels are signed; {kind} was assumed")
    elif encoded and encoded.signed is not None and encoded.signed != made.signed:
        kind = "signed" if made.signed else "unsigned"
        made.notes.append(f"header and compressed image differ about the sign; {kind}, as in the header, was read")


def _planar(dataset: pydicom.Dataset, made: PixelDescription, native: bool) -> None:
    """PlanarConfiguration counts for uncompressed colour only: a compressed frame has an order of its own."""
    if made.samples == 1 or not native:
        return
    said = number(dataset, "PlanarConfiguration")
    if said in (0, 1):
        made.planar = int(said)
        return
    what = "does not say how colours are interleaved" if said is None else "has an impossible PlanarConfiguration"
    made.notes.append(f"the header {what}; pixel by pixel was assumed")


def _fit_length(dataset: pydicom.Dataset, made: PixelDescription, name: str) -> None:
    """Hold the description against the length of uncompressed pixel data.

    Raises:
        InputError: the data is shorter than one frame.
    """
    data: Any = safe(dataset, made.keyword)
    if not isinstance(data, bytes):
        return
    there, needed = len(data), made.frame_bytes * made.frames
    if there < needed or there - needed > 1:
        _reconsider(made, there)
        needed = made.frame_bytes * made.frames
    if there < made.frame_bytes:
        raise InputError(
            f"{name}: its header describes {needed:,.0f} bytes of pixels and it holds {there:,}: it was cut short, "
            "or its "
            "header is wrong; export it again"
        )
    if there < needed:
        made.notes.append(f"the header describes {made.frames} frames, the data holds {int(there // made.frame_bytes)}")
    elif there - needed > 1:
        made.notes.append(
            f"the pixel data holds {there:,} bytes where the header describes {needed:,.0f}; the first were read"
        )


def _reconsider(made: PixelDescription, there: int) -> None:
    """Another reading of the header that fits the length exactly, if there is one; and say so."""
    plane = made.rows * made.columns * made.frames * made.allocated // 8
    if made.photometric == "YBR_FULL_422" and 0 <= there - 3 * plane <= 1:
        made.photometric = "YBR_FULL"
        made.notes.append("the header says YBR_FULL_422, the data is not subsampled: YBR_FULL was read")
    elif made.photometric == "YBR_FULL" and 0 <= there - 2 * plane <= 1:
        made.photometric = "YBR_FULL_422"
        made.notes.append("the header says YBR_FULL, the data is subsampled: YBR_FULL_422 was read")
    elif made.samples == 1 and made.photometric != "PALETTE COLOR" and 0 <= there - 3 * plane <= 1 and made.frames == 1:
        made.samples, made.photometric = 3, "RGB"
        made.notes.append("the header says one sample a pixel, the data holds three: RGB was read")
    elif made.samples == 3 and 0 <= there - plane <= 1:
        made.samples, made.photometric, made.planar = 1, "MONOCHROME2", 0
        made.notes.append("the header says three samples a pixel, the data holds one: MONOCHROME2 was read")
