"""Slice pixels out of Slicer and into files: a PNG as shown, a MetaImage with the values behind it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import vtk
from vtk.util import numpy_support

_TYPES = {"uint8": "MET_UCHAR", "int16": "MET_SHORT", "uint16": "MET_USHORT", "int32": "MET_INT",
          "uint32": "MET_UINT", "float32": "MET_FLOAT", "float64": "MET_DOUBLE"}  # fmt: skip


def write_png(pixels: np.ndarray, path: Path) -> Path:
    """Write uint8 ``[H, W]`` or ``[H, W, 3]``, lossless, rows from top to bottom."""
    image = vtk.vtkImageData()
    height, width = pixels.shape[:2]
    image.SetDimensions(width, height, 1)
    flat = np.ascontiguousarray(pixels[::-1]).reshape(height * width, -1)
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(flat, deep=True))
    writer = vtk.vtkPNGWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(image)
    writer.Write()
    return path


def read_png(content: bytes) -> np.ndarray:
    """The first channel ``[H, W]`` of a PNG, rows from top to bottom."""
    reader = vtk.vtkPNGReader()
    reader.SetMemoryBuffer(content)
    reader.SetMemoryBufferLength(len(content))
    reader.Update()
    image = reader.GetOutput()
    width, height, _depth = image.GetDimensions()
    values = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    return values.reshape(height, width, -1)[::-1, :, 0]


def write_metaimage(values: np.ndarray, to_ras: np.ndarray, path: Path) -> Path:
    """Write ``[H, W]`` as a volume of one slice in its place (MetaImage, .mha).

    Args:
        values: rows from top to bottom.
        to_ras: 4 x 4, (column, row, 0, 1) to millimetres in RAS; the file says it in LPS.
        path: of the file.
    """
    values = np.ascontiguousarray(values)
    if values.dtype.name not in _TYPES:
        values = values.astype(np.float32)
    to_lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ to_ras
    spacing = np.linalg.norm(to_lps[:3, :2], axis=0)
    columns, rows = (to_lps[:3, axis] / spacing[axis] for axis in (0, 1))
    directions = " ".join(f"{value:.9g}" for axis in (columns, rows, np.cross(columns, rows)) for value in axis)
    header = "\n".join((
        "ObjectType = Image", "NDims = 3", "BinaryData = True", "BinaryDataByteOrderMSB = False",
        "CompressedData = False", f"TransformMatrix = {directions}",
        "Offset = " + " ".join(f"{value:.9g}" for value in to_lps[:3, 3]),
        f"ElementSpacing = {spacing[0]:.9g} {spacing[1]:.9g} 1",
        f"DimSize = {values.shape[1]} {values.shape[0]} 1",
        f"ElementType = {_TYPES[values.dtype.name]}", "ElementDataFile = LOCAL", "",
    ))  # fmt: skip
    path.write_bytes(header.encode("ascii") + values.astype(values.dtype.newbyteorder("<")).tobytes())
    return path
