"""One frame of a DICOM data set -> values as they should be shown: every look-up table of PS3.3 applied once.

Order (PS3.3 C.11, PS3.4 N.2): stored values -> palette or YBR to RGB | modality LUT or rescale -> VOI LUT -> polarity.

* CT in Hounsfield units stays in HU, whatever the photometric interpretation: windows are given in HU. MONOCHROME1 is
  then marked ``invert_display`` and the windowing step inverts what it shows, once.
* Everything else that is MONOCHROME1 is mirrored here, once, about the middle of its possible range, and its windows
  with it, so that low is dark in whatever leaves the reader.
* A VOI LUT is applied to anything but HU; a window (centre/width) is handed on in ``voi``, for the windowing step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pydicom
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi, pixel_array
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from scripts.errors import InputError
from scripts.reading.case import MAX_BYTES, check_size
from scripts.reading.dicom.attributes import item, number, numbers, safe, whole, word
from scripts.reading.dicom.codestream import check_codestream
from scripts.reading.dicom.gdcm_process import plugin_for
from scripts.reading.dicom.kinds import is_localizer


@dataclass
class Frame:
    """``pixels`` ``[C, H, W]`` and what the windowing step must know of them; see `CaseImage`."""

    pixels: np.ndarray
    units: str
    value_range: list[float] | None
    luts: list[str] = field(default_factory=list)
    voi: list[dict[str, Any]] = field(default_factory=list)
    invert_display: bool = False
    padding: list[float] | None = None


def decode_frame(dataset: pydicom.Dataset, index: int, name: str) -> Frame:
    """Frame ``index`` of a data set; call inside `quiet_pydicom`.

    Raises:
        InputError: the pixels cannot be decoded, or the header contradicts them.
    """
    check_frame(dataset, name)
    check_codestream(dataset, index, name)
    try:
        syntax = safe(dataset.file_meta, "TransferSyntaxUID")
        array = _plain(dataset, syntax)
        if array is None:
            array = pixel_array(dataset, index=index, decoding_plugin=plugin_for(syntax))
    except InputError:
        raise
    except MemoryError:
        raise InputError(f"{name}: its pixels do not fit into memory; reduce the image first") from None
    except BaseException as error:  # decoders raise anything, a Rust panic too, and quote headers
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        syntax = _syntax_name(dataset)
        raise InputError(f"{name}: its {syntax} pixel data is damaged or contradicts its header") from None
    photometric = word(dataset, "PhotometricInterpretation")
    if photometric == "PALETTE COLOR":
        return _palette(dataset, array, name)
    if array.ndim == 3:
        return _colour(dataset, array, photometric)
    if array.ndim != 2:
        raise InputError(f"{name}: its pixel data decodes to {array.ndim} axes where 2 were expected")
    return _grey(dataset, array, index, photometric, name)


def _plain(dataset: pydicom.Dataset, syntax: Any) -> np.ndarray | None:
    """The pixels of the commonest kind, one uncompressed 16-bit grey frame without spare bits, as a view of its bytes.

    pydicom gives the same values after a copy and checks that cost as much again; None for any other kind.
    """
    names = ("BitsAllocated", "BitsStored", "SamplesPerPixel", "NumberOfFrames")
    described = [whole(dataset, name, 1) for name in names]
    if described != [16, 16, 1, 1] or syntax not in (ImplicitVRLittleEndian, ExplicitVRLittleEndian):
        return None
    data = safe(dataset, "PixelData")
    shape = whole(dataset, "Rows"), whole(dataset, "Columns")
    if not isinstance(data, bytes) or len(data) != 2 * shape[0] * shape[1]:
        return None
    signed = whole(dataset, "PixelRepresentation")
    return np.frombuffer(data, "<i2" if signed else "<u2").reshape(shape) if signed in (0, 1) else None


def check_frame(dataset: pydicom.Dataset, name: str) -> None:
    """Everything about the pixel description that can be refused before decoding."""
    if not any(key in dataset for key in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise InputError(f"{name}: has no pixel data")
    rows, columns = whole(dataset, "Rows"), whole(dataset, "Columns")
    if rows < 1 or columns < 1:
        raise InputError(f"{name}: does not say how many rows and columns it has")
    check_size(name, rows, columns)
    frames = max(1, whole(dataset, "NumberOfFrames", 1))
    samples = max(1, whole(dataset, "SamplesPerPixel", 1))
    if rows * columns * samples * max(1, whole(dataset, "BitsAllocated", 8) // 8) > MAX_BYTES:
        raise InputError(f"{name}: one frame takes over {MAX_BYTES >> 20} MiB; reduce the image first")
    if frames > 1_000_000:
        raise InputError(f"{name}: claims {frames:,} frames; its header is damaged")


def _syntax_name(dataset: pydicom.Dataset) -> str:
    uid = safe(dataset.file_meta, "TransferSyntaxUID")
    private = uid is None or uid.is_private or not uid.is_transfer_syntax
    return "(unknown encoding)" if private else uid.name


def _palette(dataset: pydicom.Dataset, array: np.ndarray, name: str) -> Frame:
    try:
        colour = apply_color_lut(array, dataset)
    except Exception:  # an absent or short palette raises many kinds
        raise InputError(f"{name}: its colour palette is missing or damaged") from None
    top = float(np.iinfo(colour.dtype).max)
    return Frame(colour[..., :3].transpose(2, 0, 1), "display", [0.0, top], ["palette to RGB"])


def _colour(dataset: pydicom.Dataset, array: np.ndarray, photometric: str) -> Frame:
    """Three samples a pixel: already RGB, since pydicom converts YBR."""
    luts = [f"{photometric} to RGB"] if photometric.startswith("YBR") else []
    bits = min(max(1, whole(dataset, "BitsStored", 8)), 8 * array.dtype.itemsize)
    return Frame(array[..., :3].transpose(2, 0, 1), "display", [0.0, float(2**bits - 1)], luts)


def _grey(dataset: pydicom.Dataset, array: np.ndarray, index: int, photometric: str, name: str) -> Frame:
    values, (low, high), luts, hounsfield = _modality(dataset, array, index, name)
    inverse = photometric == "MONOCHROME1"
    if hounsfield:
        frame = Frame(values[None], "HU", None, luts, _windows(dataset, index), inverse)
        frame.padding = _padding(dataset, array, index)
        return frame
    windows = _windows(dataset, index)
    voi_lut = _voi_lut(dataset, values, name)
    if voi_lut is not None:
        values, high = voi_lut
        low, windows = 0.0, []
        luts.append("VOI LUT")
    padding = _padding(dataset, array, index) if voi_lut is None else None
    if inverse:
        mirror = low + high
        values = (mirror - values.astype(np.float64 if values.dtype.itemsize > 2 else np.float32)).astype(np.float32)
        windows = [{**w, "centre": mirror - w["centre"] + (1.0 if w["function"] == "LINEAR" else 0.0)} for w in windows]
        padding = [mirror - padding[1], mirror - padding[0]] if padding else None
        luts.append("MONOCHROME1 inverted")
    span = [low, high] if np.isfinite(low) and np.isfinite(high) else None
    display = span == [0.0, 255.0] and not windows
    return Frame(values[None], "display" if display else "stored", span, luts, windows, False, padding)


def _modality(
    dataset: pydicom.Dataset, array: np.ndarray, index: int, name: str
) -> tuple[np.ndarray, tuple[float, float], list[str], bool]:
    """(values, their possible range, what was applied, whether they are Hounsfield units)."""
    modality_lut = item(dataset, "ModalityLUTSequence")
    if modality_lut is not None and array.dtype.kind in "iu":
        bits = (numbers(modality_lut, "LUTDescriptor", 3) or [0, 0, 16])[2]
        try:
            return apply_modality_lut(array, dataset), (0.0, 2.0**bits - 1), ["modality LUT"], False
        except Exception:
            raise InputError(f"{name}: its modality look-up table is damaged") from None
    low, high = _stored_range(dataset, array)
    rescale = functional(dataset, index, "PixelValueTransformationSequence") or dataset
    slope, intercept = number(rescale, "RescaleSlope"), number(rescale, "RescaleIntercept")
    if slope is None and intercept is None:
        return array, (low, high), [], False
    slope, intercept = 1.0 if slope is None else slope, intercept or 0.0
    kind = word(rescale, "RescaleType")
    hounsfield = word(dataset, "Modality") == "CT" and kind in ("", "HU", "HU_MOD", "US") and not is_localizer(dataset)
    luts = [f"rescale {slope:g}x{intercept:+g}"]
    if (slope, intercept) != (1.0, 0.0):
        wide = np.float64 if array.dtype.itemsize > 2 else np.float32
        array = array.astype(wide)  # a copy, changed in place: fresh memory costs more than the arithmetic
        if slope != 1.0:
            array *= wide(slope)
        array += wide(intercept)
        low, high = sorted((low * slope + intercept, high * slope + intercept))
    return array, (low, high), luts, hounsfield


def _stored_range(dataset: pydicom.Dataset, array: np.ndarray) -> tuple[float, float]:
    if array.dtype.kind == "f":
        return -np.inf, np.inf
    bits = min(max(1, whole(dataset, "BitsStored", 8 * array.dtype.itemsize)), 8 * array.dtype.itemsize)
    if whole(dataset, "PixelRepresentation"):
        return -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1
    return 0.0, 2.0**bits - 1


def _voi_lut(dataset: pydicom.Dataset, values: np.ndarray, name: str) -> tuple[np.ndarray, float] | None:
    """(values through the first VOI LUT, largest possible value), or None where there is no such table."""
    table = item(dataset, "VOILUTSequence")
    descriptor = numbers(table, "LUTDescriptor", 3) if table is not None else None
    if descriptor is None:
        return None
    whole_values = values if values.dtype.kind in "iu" else np.rint(values).astype(np.int32)
    try:
        return apply_voi(whole_values, dataset, index=0), 2.0 ** descriptor[2] - 1
    except Exception:
        raise InputError(f"{name}: its VOI look-up table is damaged") from None


def _windows(dataset: pydicom.Dataset, index: int) -> list[dict[str, Any]]:
    """Usable windows of the file: centre, width, function."""
    holder = functional(dataset, index, "FrameVOILUTSequence") or dataset
    centres, widths = numbers(holder, "WindowCenter") or [], numbers(holder, "WindowWidth") or []
    function = word(holder, "VOILUTFunction") or "LINEAR"
    function = function if function in ("LINEAR", "LINEAR_EXACT", "SIGMOID") else "LINEAR"
    least = 1.0 if function == "LINEAR" else 1e-9
    pairs = zip(centres, widths, strict=False)
    return [{"centre": c, "width": w, "function": function} for c, w in pairs if w >= least]


def _padding(dataset: pydicom.Dataset, array: np.ndarray, index: int) -> list[float] | None:
    """Range of padding values, on the scale of the values after rescaling."""
    first = number(dataset, "PixelPaddingValue")
    if first is None or array.dtype.kind == "f":
        return None
    limit = number(dataset, "PixelPaddingRangeLimit")
    rescale = functional(dataset, index, "PixelValueTransformationSequence") or dataset
    slope, intercept = number(rescale, "RescaleSlope"), number(rescale, "RescaleIntercept")
    ends = [first, first if limit is None else limit]
    return sorted(v * (1.0 if slope is None else slope) + (intercept or 0.0) for v in ends)


def functional(dataset: pydicom.Dataset, index: int, keyword: str) -> pydicom.Dataset | None:
    """First item of a functional group: the frame's own, else the one that all frames share, else None."""
    groups = safe(dataset, "PerFrameFunctionalGroupsSequence")
    try:
        own = item(groups[index], keyword) if groups is not None and index < len(groups) else None
    except (TypeError, IndexError):
        own = None
    if own is not None:
        return own
    shared = item(dataset, "SharedFunctionalGroupsSequence")
    return item(shared, keyword) if shared is not None else None
