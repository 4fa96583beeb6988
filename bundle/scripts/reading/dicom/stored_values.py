"""The stored values of one frame: decoded, in the bits that count, YBR turned into RGB, nothing else applied."""

from __future__ import annotations

from typing import Any

import numpy as np
import pydicom
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from scripts.errors import InputError
from scripts.reading.dicom.attributes import safe, whole
from scripts.reading.dicom.codestream import Codestream
from scripts.reading.dicom.gdcm_process import plugin_for
from scripts.reading.dicom.pixel_description import PixelDescription, describe_pixels
from scripts.reading.dicom.transfer_syntax import check_syntax, encoded_frame, syntax_of

_NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)


def stored_values(dataset: pydicom.Dataset, index: int, name: str) -> tuple[np.ndarray, PixelDescription]:
    """Frame ``index`` as ``[H, W]`` or ``[H, W, 3]`` (RGB), and how it was stored.

    Raises:
        InputError: the encoding is not read, or header and pixel data contradict each other beyond repair.
    """
    check_syntax(dataset, name)
    plain = _plain(dataset)
    if plain is not None:
        return plain
    encoded = encoded_frame(dataset, index, name)
    syntax = syntax_of(dataset) or ExplicitVRLittleEndian
    described = describe_pixels(dataset, encoded, not syntax.is_encapsulated, name)
    try:
        return _decoded(dataset, described, encoded, index), described
    except InputError:
        raise
    except MemoryError:
        raise InputError(f"{name}: its pixels do not fit into memory; reduce the image first") from None
    except BaseException as error:  # decoders raise anything, a Rust panic too, and quote headers
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        raise InputError(f"{name}: its {syntax.name} pixel data is damaged or contradicts its header") from None


def _plain(dataset: pydicom.Dataset) -> tuple[np.ndarray, PixelDescription] | None:
    """The commonest kind, one uncompressed 16-bit grey frame without spare bits, as a view of its bytes.

    pydicom gives the same values after a copy and checks that cost as much again; None for any other kind.
    """
    names = ("BitsAllocated", "BitsStored", "SamplesPerPixel", "NumberOfFrames", "HighBit")
    described = [whole(dataset, name, default) for name, default in zip(names, (0, 0, 0, 1, 15), strict=True)]
    if described != [16, 16, 1, 1, 15] or syntax_of(dataset) not in _NATIVE[:2]:
        return None
    data = safe(dataset, "PixelData")
    rows, columns = whole(dataset, "Rows"), whole(dataset, "Columns")
    signed, photometric = whole(dataset, "PixelRepresentation", -1), safe(dataset, "PhotometricInterpretation")
    if not isinstance(data, bytes) or len(data) != 2 * rows * columns or signed not in (0, 1):
        return None
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        return None
    array = np.frombuffer(data, "<i2" if signed else "<u2").reshape(rows, columns)
    return array, PixelDescription("PixelData", rows, columns, 1, 1, photometric, 16, 16, 15, bool(signed), 0)


def _decoded(
    dataset: pydicom.Dataset, described: PixelDescription, encoded: Codestream | None, index: int
) -> np.ndarray:
    syntax = syntax_of(dataset) or ExplicitVRLittleEndian
    options: dict[str, Any] = {
        "rows": described.rows, "columns": described.columns, "number_of_frames": described.frames,
        "samples_per_pixel": described.samples, "photometric_interpretation": described.photometric,
        "bits_allocated": described.allocated, "pixel_keyword": described.keyword,
        "pixel_vr": dataset[described.keyword].VR,
    }  # fmt: skip
    if not described.is_float:
        options["bits_stored"] = max(described.stored, described.precision)
        options.update(pixel_representation=int(described.signed), planar_configuration=described.planar)
    if syntax.is_encapsulated:
        table, lengths = safe(dataset, "ExtendedOffsetTable"), safe(dataset, "ExtendedOffsetTableLengths")
        if table and lengths:
            options["extended_offsets"] = (table, lengths)
    elif not described.is_float:
        options["correct_unused_bits"] = False
    options.update(index=index, decoding_plugin=plugin_for(syntax), validate=False)
    data = safe(dataset, described.keyword)
    array, _ = get_decoder(syntax).as_array(data, **options)
    if syntax == RLELossless and _holds_more(data, options):
        described.notes.append("the compressed image holds more pixels than the header says; the first were read")
    if array.ndim != (2 if described.samples == 1 else 3):
        raise ValueError("decodes to another number of axes")
    if described.is_float or described.allocated == 1:
        return array
    if syntax.is_encapsulated:
        return _fitting(array, described)
    return _used_bits(array, described, overlays=_has_overlay_bits(dataset))


def _holds_more(data: bytes, options: dict[str, Any]) -> bool:
    """Whether an RLE frame, which states no size, can be decoded with one more row."""
    try:
        get_decoder(RLELossless).as_array(data, **{**options, "rows": options["rows"] + 1})
    except Exception:  # as it should be: too short for it
        return False
    return True


def _fitting(array: np.ndarray, described: PixelDescription) -> np.ndarray:
    """Values of a compressed image that states more bits than the header: encoders write whole words. Where the values
    need those bits, they are believed."""
    stored = described.stored
    if described.precision <= stored or array.dtype.kind not in "iu":
        return array
    low, high = (-(2 ** (stored - 1)), 2 ** (stored - 1)) if described.signed else (0, 2**stored)
    if low <= int(array.min()) and int(array.max()) < high:
        return array
    if described.signed and int(array.min()) >= 0 and int(array.max()) < 2**stored:
        spare = 8 * array.dtype.itemsize - stored  # written without its sign bits
        return np.right_shift(np.left_shift(array, spare), spare)
    described.notes.append(f"the header says {stored} bits, the compressed image has {described.precision}: believed")
    described.stored = described.precision
    return array


def _used_bits(array: np.ndarray, described: PixelDescription, *, overlays: bool) -> np.ndarray:
    """The bits from HighBit down, BitsStored of them; older files have values anywhere in their words (PS3.5 8.1.1)."""
    stored, spare = described.stored, described.allocated - described.stored
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    high = stored - 1 if described.high_bit is None else described.high_bit
    shift = high - stored + 1
    if shift and not _can_shift(array, shift, described):
        shift = 0
    if not spare:
        return array
    unsigned = array.view(f"u{array.dtype.itemsize}")
    above = spare - shift
    moved = np.left_shift(unsigned, above).view(array.dtype)
    values = np.right_shift(moved, spare)
    if above and not overlays and described.samples == 1 and not _are_spare(array, values, shift, stored):
        described.notes.append(f"bits above the {stored} that the header says are stored were set; they were left out")
    return values


def _can_shift(array: np.ndarray, shift: int, described: PixelDescription) -> bool:
    """Whether HighBit is to be believed; else a note says why it was not."""
    if shift < 0 or shift > described.allocated - described.stored:
        described.notes.append(
            f"HighBit {described.high_bit} is impossible with {described.stored} bits; it was left out"
        )
        return False
    unsigned = array.view(f"u{array.dtype.itemsize}")
    below = int(np.bitwise_or.reduce(unsigned, axis=None)) & ((1 << shift) - 1)
    if below and int(unsigned.max()) < 1 << described.stored:
        described.notes.append(
            f"HighBit {described.high_bit} contradicts the values, which lie in the lower {described.stored} bits; "
            "it was left out"
        )
        return False
    described.notes.append(f"values were taken from bit {described.high_bit} down, as HighBit says")
    return True


def _are_spare(array: np.ndarray, values: np.ndarray, shift: int, stored: int) -> bool:
    """Whether the bits above are only zeros or only repeat the sign."""
    unmoved = array if shift == 0 else np.right_shift(array, shift)
    if np.array_equal(unmoved, values):
        return True
    bits = np.right_shift(array.view(f"u{array.dtype.itemsize}"), shift)
    return values.dtype.kind == "i" and int(bits.max()) < 1 << stored


def _has_overlay_bits(dataset: pydicom.Dataset) -> bool:
    """Whether an overlay lies in the spare bits of the pixels (retired, PS3.3-2004 C.9.2.1.2)."""
    return any((0x6000 + 2 * k, 0x0010) in dataset for k in range(16))
