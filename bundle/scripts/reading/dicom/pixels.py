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
from pydicom.pixels import apply_color_lut

from scripts.errors import InputError
from scripts.reading.case import MAX_BYTES, check_size
from scripts.reading.dicom.attributes import UNREADABLE, item, numbers, remark_on, whole, word
from scripts.reading.dicom.kinds import is_capture, is_localizer
from scripts.reading.dicom.lookup_tables import palette_of, table_of
from scripts.reading.dicom.padding import padding_of
from scripts.reading.dicom.pixel_description import PixelDescription
from scripts.reading.dicom.rescale import Rescale, functional, rescale_of
from scripts.reading.dicom.stored_values import stored_values

_AIR, _SOFT_TISSUE = -900.0, 200.0
"""Hounsfield units that a CT image must be able to hold."""


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
    notes: list[str] = field(default_factory=list)


def decode_frame(dataset: pydicom.Dataset, index: int, name: str) -> Frame:
    """Frame ``index`` of a data set; call inside `quiet_pydicom`.

    Raises:
        InputError: the pixels cannot be decoded, or the header contradicts them.
    """
    check_frame(dataset, name)
    array, described = stored_values(dataset, index, name)
    if described.photometric == "PALETTE COLOR":
        frame = _palette(dataset, array, described, name)
    elif described.samples == 3:
        frame = _colour(dataset, array, described)
    else:
        frame = _grey(dataset, array, described, index, name)
    frame.notes = [*described.notes, *frame.notes]
    return frame


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


def _palette(dataset: pydicom.Dataset, array: np.ndarray, described: PixelDescription, name: str) -> Frame:
    if "RedPaletteColorLookupTableData" not in dataset:  # segmented, or one of the standard's own
        try:
            colour = apply_color_lut(array, dataset)[..., :3]
        except Exception:  # an absent or short palette raises many kinds
            raise InputError(f"{name}: its colour palette is missing or damaged") from None
        top = float(np.iinfo(colour.dtype).max)
        return Frame(colour.transpose(2, 0, 1), "display", [0.0, top], ["palette to RGB"])
    tables = palette_of(dataset, signed=described.signed, name=name)
    notes = list(dict.fromkeys(note for table in tables for note in table.notes))
    colour = np.stack([table.apply(array) for table in tables])
    return Frame(colour, "display", [0.0, tables[0].top], ["palette to RGB"], notes=notes)


def _colour(dataset: pydicom.Dataset, array: np.ndarray, described: PixelDescription) -> Frame:
    """Three samples a pixel: already RGB, since pydicom converts YBR."""
    said = word(dataset, "PhotometricInterpretation")
    luts = [f"{said} to RGB"] if said.startswith("YBR") else []
    bits = min(described.stored, 8 * array.dtype.itemsize)
    return Frame(array.transpose(2, 0, 1), "display", [0.0, float(2**bits - 1)], luts)


def _grey(
    dataset: pydicom.Dataset, array: np.ndarray, described: PixelDescription, index: int, name: str
) -> Frame:  # fmt: skip
    notes: list[str] = []
    rescale = rescale_of(dataset, index, name)
    values, (low, high), luts = _modality(dataset, array, described, rescale, notes, name)
    inverse = described.photometric == "MONOCHROME1"
    windows = _windows(dataset, index, notes)
    if _is_hounsfield(dataset, rescale, luts, values, (low, high), notes):
        padding = padding_of(dataset, described, rescale, notes)
        return Frame(values[None], "HU", None, luts, windows, inverse, padding, notes)
    padding = padding_of(dataset, described, rescale, notes) if "modality LUT" not in luts else None
    if (table := item(dataset, "VOILUTSequence")) is not None:
        lut = table_of(table, signed=low < 0, what="VOI look-up table", name=name)
        notes += lut.notes
        values, low, high, windows, padding = lut.apply(values), 0.0, lut.top, [], None
        luts.append("VOI LUT")
    if inverse:
        mirror = low + high
        values = (mirror - values.astype(np.float64 if values.dtype.itemsize > 2 else np.float32)).astype(np.float32)
        windows = [{**w, "centre": mirror - w["centre"] + (1.0 if w["function"] == "LINEAR" else 0.0)} for w in windows]
        padding = [mirror - padding[1], mirror - padding[0]] if padding else None
        luts.append("MONOCHROME1 inverted")
    span = [low, high] if np.isfinite(low) and np.isfinite(high) else None
    display = span == [0.0, 255.0] and not windows
    return Frame(values[None], "display" if display else "stored", span, luts, windows, False, padding, notes)


def _modality(
    dataset: pydicom.Dataset, array: np.ndarray, described: PixelDescription, rescale: Rescale | None, notes: list[str],
    name: str,
) -> tuple[np.ndarray, tuple[float, float], list[str]]:  # fmt: skip
    """(values after the modality LUT or rescale, their possible range, what was applied)."""
    modality_lut = item(dataset, "ModalityLUTSequence")
    if modality_lut is not None and not described.is_float:
        table = table_of(modality_lut, signed=described.signed, what="modality look-up table", name=name)
        notes += table.notes
        if rescale is not None and (rescale.slope, rescale.intercept) != (1.0, 0.0):
            notes.append("the file has a modality look-up table and a rescale; the table was applied")
        return table.apply(array), (0.0, table.top), ["modality LUT"]
    low, high = _stored_range(array, described)
    if rescale is None:
        return array, (low, high), []
    notes += rescale.notes
    slope, intercept = rescale.slope, rescale.intercept
    if slope == 0 and array.min() != array.max():
        raise InputError(
            f"{name}: its RescaleSlope is 0, which would give every pixel the value {intercept:g}; correct it or "
            "export "
            "the image again"
        )
    luts = [f"rescale {slope:g}x{intercept:+g}"]
    if (slope, intercept) != (1.0, 0.0):
        wide = np.float64 if array.dtype.itemsize > 2 else np.float32
        array = array.astype(wide)  # a copy, changed in place: fresh memory costs more than the arithmetic
        if slope != 1.0:
            array *= wide(slope)
        array += wide(intercept)
        low, high = sorted((low * slope + intercept, high * slope + intercept))
    return array, (low, high), luts


def _is_hounsfield(
    dataset: pydicom.Dataset, rescale: Rescale | None, luts: list[str], values: np.ndarray, span: tuple[float, float],
    notes: list[str],
) -> bool:  # fmt: skip
    """Whether values are Hounsfield units: a CT image that states its rescale and can hold air and soft tissue.

    Screen captures and pictures of 8 bits are labelled CT too, and keep slope 1 and intercept 0; scouts carry the tags,
    but their values are line integrals.
    """
    if word(dataset, "Modality") != "CT" or rescale is None or "modality LUT" in luts or is_localizer(dataset):
        return False
    if rescale.kind not in ("", "HU", "HU_MOD", "US"):
        return False
    holds_tissue = span[0] <= _AIR and span[1] >= _SOFT_TISSUE
    if not rescale.complete:
        holds_tissue = holds_tissue and values.min() < _AIR / 2
    if is_capture(dataset):
        holds_tissue = holds_tissue and values.min() <= _AIR and rescale.intercept < 0
    if not holds_tissue:
        notes.append("labelled CT, but its values cannot be Hounsfield units; no CT window was used")
    return bool(holds_tissue)


def _stored_range(array: np.ndarray, described: PixelDescription) -> tuple[float, float]:
    if described.is_float:
        return -np.inf, np.inf
    bits = min(described.stored, 8 * array.dtype.itemsize)
    if described.signed:
        return -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1
    return 0.0, 2.0**bits - 1


def _windows(dataset: pydicom.Dataset, index: int, notes: list[str]) -> list[dict[str, Any]]:
    """Usable windows of the file: centre, width, function."""
    holder = functional(dataset, index, "FrameVOILUTSequence") or dataset
    for keyword in ("WindowCenter", "WindowWidth"):
        if remark := remark_on(holder, keyword):
            notes.append(f"{keyword} is {remark}" + ("; it was left out" if remark == UNREADABLE else ""))
    centres, widths = numbers(holder, "WindowCenter") or [], numbers(holder, "WindowWidth") or []
    function = word(holder, "VOILUTFunction") or "LINEAR"
    function = function if function in ("LINEAR", "LINEAR_EXACT", "SIGMOID") else "LINEAR"
    least = 1.0 if function == "LINEAR" else 1e-9
    pairs = zip(centres, widths, strict=False)
    return [{"centre": c, "width": w, "function": function} for c, w in pairs if w >= least]
