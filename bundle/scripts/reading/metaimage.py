"""MetaImage files (.mha, .mhd), by the format's documentation: https://itk.org/Wiki/MetaIO/Documentation.

The rows of the matrix are the directions of the voxel axes in L, P, S. A file without a matrix, and one of two axes,
does not say how it lies in the patient.
"""

from __future__ import annotations

import re

import numpy as np

from scripts.errors import InputError
from scripts.reading.data_files import MAX_HEADER, data_files
from scripts.reading.voxel_data import VoxelFile, VoxelLayout, arranged, numbers_of, read_voxels

_LINE = re.compile(r"[ \t]*([A-Za-z_][A-Za-z0-9_.]*)[ \t]*[=:][ \t]*([^\r\n]*)")
_TYPES = {
    "CHAR": "i1", "UCHAR": "u1", "SHORT": "i2", "USHORT": "u2", "INT": "i4", "UINT": "u4", "LONG": "i4", "ULONG": "u4",
    "LONG_LONG": "i8", "ULONG_LONG": "u8", "FLOAT": "f4", "DOUBLE": "f8",
}  # fmt: skip
_BYTE_ORDERS = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
_OPPOSITE = dict(zip("RLAPSI", "LRPAIS", strict=True))
_LETTERS = ("LR", "PA", "SI")


def read_metaimage(path: str) -> VoxelFile:
    """A whole MetaImage file of two to four axes, with any number of channels.

    Raises:
        InputError: damaged, of a layout that is not read, or its voxels lie outside its folder.
    """
    fields, end = _parse(path)
    sizes = _whole(fields, "DimSize") or []
    dims = (_whole(fields, "NDims") or [0])[0]
    if not 2 <= dims <= 4 or len(sizes) != dims or min(sizes) < 1:
        raise InputError(f"{path}: has {dims} axes of sizes {sizes}; 2 to 4 axes, none empty, are needed")
    channels = (_whole(fields, "ElementNumberOfChannels") or [1])[0]
    if not 1 <= channels <= 1000:
        raise InputError(f"{path}: claims {channels} channels a voxel; its header is damaged")
    notes: list[str] = []
    orders = [_is_true(fields, name) for name in _BYTE_ORDERS if name in fields]
    if len(set(orders)) > 1:
        notes.append("the file states two byte orders; big endian was believed")
    array = read_voxels(_layout(path, fields, end, sizes, channels), notes)
    while array.ndim < 5:
        array = array[None]
    affine, known = _affine(path, fields, dims, notes)
    slope = (numbers_of(fields, "ElementToIntensityFunctionSlope") or [1.0])[0]
    offset = (numbers_of(fields, "ElementToIntensityFunctionOffset") or [0.0])[0]
    if (slope, offset) != (1.0, 0.0):
        notes.append(f"the file names an intensity function ({slope:g} times, {offset:+g}), which was not applied")
    return arranged(VoxelFile(array, affine, "MetaImage", known, notes=notes), channels)


def _parse(path: str) -> tuple[dict[str, str], int]:
    """(fields, where the header ends): at the line that names the voxels' file."""
    with open(path, "rb") as stream:
        text = stream.read(MAX_HEADER).decode("latin-1")
    fields: dict[str, str] = {}
    at = 0
    while at < len(text):
        stop = text.find("\n", at)
        stop = len(text) if stop < 0 else stop + 1
        line = _LINE.match(text[at:stop])
        at = stop
        if line is None:
            if text[at - 1 : at] and not text[:at].strip():
                continue
            break
        fields[line[1]] = line[2].strip()
        if line[1] == "ElementDataFile":
            return fields, at
    raise InputError(f"{path}: its header is damaged, or does not say where its voxels are; export it again")


def _layout(path: str, fields: dict[str, str], end: int, sizes: list[int], channels: int) -> VoxelLayout:
    said = fields.get("ElementType", "").upper().removeprefix("MET_").removesuffix("_ARRAY")
    if said not in _TYPES:
        raise InputError(f"{path}: its ElementType is not one of MetaImage's; export it again")
    big = any(_is_true(fields, name) for name in _BYTE_ORDERS)
    kind = np.dtype(_TYPES[said]).newbyteorder(">" if big else "<")
    shape = (*reversed(sizes), channels)
    encoding = (
        "gzip" if _is_true(fields, "CompressedData") else "raw" if _is_true(fields, "BinaryData", True) else "text"
    )
    if encoding != "gzip" and "CompressedDataSize" in fields:
        raise InputError(f"{path}: says that its data is not compressed and gives a compressed size; export it again")
    files = data_files(path, ".mha")
    skip = (_whole(fields, "HeaderSize") or [0])[0]
    if not files:
        return VoxelLayout(path, [path], kind, shape, encoding, end)
    return VoxelLayout(path, files, kind, shape, encoding, skip if encoding == "raw" else max(0, skip))


def _affine(path: str, fields: dict[str, str], dims: int, notes: list[str]) -> tuple[np.ndarray, bool]:
    """Voxel (x, y, z) -> L, P, S in millimetres, and whether the file says so."""
    names = ("TransformMatrix", "Orientation", "Rotation")
    matrix = next((found for name in names if (found := numbers_of(fields, name)) and len(found) == dims * dims), None)
    directions = np.eye(dims) if matrix is None else np.array(matrix).reshape(dims, dims)
    spacing = numbers_of(fields, "ElementSpacing") or numbers_of(fields, "ElementSize") or []
    affine = np.eye(4)
    for axis in range(min(3, dims)):
        step = abs(spacing[axis]) if axis < len(spacing) and spacing[axis] else 1.0
        affine[:3, axis] = 0.0
        affine[: min(3, dims), axis] = directions[axis][:3] * step
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise InputError(f"{path}: its matrix is not made of different directions; export it again")
    if dims == 2:
        notes.append("a 2-D image: which plane it shows is not known")
        return affine, False
    if matrix is None:
        notes.append("the file has no matrix, so planes and sides are not known; L, P, S axes were assumed")
        return affine, False
    said = fields.get("AnatomicalOrientation", "").upper()[:3]
    if set(said) <= set(_OPPOSITE) and len(said) == 3 and said != _from_letters(affine):
        notes.append(
            f"AnatomicalOrientation {said} contradicts the matrix ({_from_letters(affine)}); this was believed"
        )
    return affine, True


def _from_letters(affine: np.ndarray) -> str:
    """The sides that the voxel axes come from, as MetaImage names orientations: RAI for L, P, S axes."""
    letters = ""
    for axis in range(3):
        column = affine[:3, axis]
        along = int(np.argmax(np.abs(column)))
        letters += _OPPOSITE[_LETTERS[along][0 if column[along] > 0 else 1]]
    return letters


def _whole(fields: dict[str, str], name: str) -> list[int] | None:
    found = numbers_of(fields, name)
    return None if found is None or not all(map(np.isfinite, found)) else [int(n) for n in found]


def _is_true(fields: dict[str, str], name: str, default: bool = False) -> bool:
    return fields[name].strip().lower() in ("true", "t", "1") if name in fields else default
