"""NRRD and MetaImage files through ITK, checked before ITK allocates anything."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scripts.errors import InputError
from scripts.reading.case import check_bytes
from scripts.reading.data_files import data_files

_PACKED = re.compile(rb"compresseddata[ \t]*[=:][ \t]*[t1]")


@dataclass
class ItkFile:
    """``array`` ``[T, Z, Y, X, C]`` as stored; ``affine`` voxel (x, y, z) -> millimetres in L, P, S.

    ``known``: the file says how its voxels lie in the patient; an NRRD without a space has axes of no meaning.
    """

    array: np.ndarray
    affine: np.ndarray
    reader: str
    notes: list[str] = field(default_factory=list)
    known: bool = True


def read_itk(path: str, ending: str) -> ItkFile:
    """Read a whole NRRD or MetaImage file of 2 to 4 axes, whatever its name.

    Args:
        path: the file.
        ending: ".nrrd" or ".mha", as its bytes tell (`scripts.reading.magic`).

    Raises:
        InputError: ITK cannot read it, its stated size does not fit, or its voxels lie outside its folder.
    """
    import itk

    if not ending:
        raise InputError(f"{path}: is not an NRRD or MetaImage file, or its header is damaged")
    voxel_files = data_files(path, ending)
    itk.ProcessObject.SetGlobalWarningDisplay(False)
    # Not the factory: it would take any of ITK's formats that a file so named happens to hold.
    io = (itk.NrrdImageIO if ending == ".nrrd" else itk.MetaImageIO).New()
    io.SetFileName(path)
    try:
        io.ReadImageInformation()
    except RuntimeError:
        raise InputError(f"{path}: its header is damaged; export it again") from None
    dims = int(io.GetNumberOfDimensions())
    sizes = [int(io.GetDimensions(i)) for i in range(dims)]
    if not 2 <= dims <= 4 or min(sizes) < 1:
        raise InputError(f"{path}: has {dims} axes of sizes {sizes}; 2 to 4 axes, none empty, are needed")
    components = int(io.GetNumberOfComponents())
    claimed = int(io.GetComponentSize()) * components * int(np.prod([float(n) for n in sizes]))
    check_bytes(path, claimed)
    if _is_too_short(path, ending, voxel_files or [path], claimed):
        raise InputError(f"{path}: its header claims {claimed:,} bytes of voxels, which the file cannot hold")
    try:
        array = np.asarray(itk.array_from_image(itk.imread(path, imageio=io)))
    except (RuntimeError, KeyError, TypeError):
        raise InputError(f"{path}: the voxel data is truncated, damaged or of a kind that ITK does not read") from None
    file = _arrange(path, array, io, dims, components)
    file.known = _says_orientation(path, ending)
    if not file.known:
        file.notes.append("the file names no space, so planes and sides are not known; L, P, S axes were assumed")
    return file


def _arrange(path: str, array: np.ndarray, io: Any, dims: int, components: int) -> ItkFile:
    """Bring ITK's ``[(t, z,) y, x (, c)]`` to ``[T, Z, Y, X, C]``."""
    if components == 1 and array.ndim == dims:
        array = array[..., None]
    if array.ndim != dims + 1:
        raise InputError(f"{path}: ITK gives {array.ndim} axes where {dims + 1} were expected; export it again")
    while array.ndim < 5:
        array = array[None]
    notes = []
    if components in (3, 4) and array.dtype == np.uint8:
        array = array[..., :3]
    elif components > 1:
        notes.append(f"each voxel has {components} components; the first was taken")
        array = array[..., :1]
    affine = np.eye(4)
    for axis in range(min(3, dims)):
        direction = [float(v) for v in io.GetDirection(axis)][:3]
        affine[: len(direction), axis] = direction
        affine[:3, axis] *= float(io.GetSpacing(axis))
        affine[axis, 3] = float(io.GetOrigin(axis))
    if not np.isfinite(affine).all():
        raise InputError(f"{path}: its orientation is not made of numbers; export it again")
    return ItkFile(array, affine, f"ITK {type(io).__name__.replace('itk', '').replace('ImageIO', '')}", notes)


def _says_orientation(path: str, ending: str) -> bool:
    if ending != ".nrrd":
        return True
    with open(path, "rb") as stream:
        header = stream.read(65_536).split(b"\n\n")[0].replace(b"\r", b"").lower()
    return any(line.startswith(b"space:") for line in header.split(b"\n"))


def _is_too_short(path: str, ending: str, files: list[str], claimed: int) -> bool:
    """Whether the files with the voxels are shorter than the header claims; packed ones may be 1040 times as short."""
    size = sum(Path(file).stat().st_size for file in files)
    with open(path, "rb") as stream:
        head = stream.read(65_536).lower()
    packed = b"encoding: raw" not in head if ending == ".nrrd" else _PACKED.search(head) is not None
    return claimed > (size * 1040 if packed else size)
