"""NIfTI, Analyze and MGH files through nibabel, their compressed data checked to its end."""

from __future__ import annotations

import contextlib
import gzip
import math
import os
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scripts.errors import InputError
from scripts.reading.case import MAX_BYTES, check_bytes
from scripts.reading.fitting_name import FittingName
from scripts.reading.nifti_affine import believed_affine
from scripts.reading.orientation import Volume
from scripts.reading.unpacking import unpacked

_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_GZIP_LIMIT = 1040
"""Deflate cannot shrink further than 1032 times; a header that claims more is wrong."""
_KEPT = 2 * MAX_BYTES
"""Bytes of unpacked voxels that are kept at once; of larger files, one volume at a time."""
_MGH_LOOK = 4096
_MGH_BYTES = {0: 1, 1: 4, 3: 4, 4: 2}
"""Types of voxels, https://surfer.nmr.mgh.harvard.edu/fswiki/FsTutorial/MghFormat."""
_LABELS = 1002
"""NIFTI_INTENT_LABEL of nifti1.h."""


def open_neuroimage(path: str, ending: str) -> NeuroImage:
    """A NIfTI, Analyze or MGH file.

    Args:
        path: the file.
        ending: that its bytes tell (`scripts.reading.magic`); "" goes by its name.

    Raises:
        InputError: its header is damaged, it claims more than it can hold, or it says that it holds labels.
    """
    import nibabel as nib

    named = FittingName(path, ending)
    _check_mgz(path)
    try:
        image = nib.load(named.path, mmap="c")
    except (nib.filebasedimages.ImageFileError, nib.spatialimages.HeaderDataError, nib.wrapstruct.WrapStructError):
        raise InputError(f"{path}: is not a NIfTI, Analyze or MGH file, or its header is damaged or missing") from None
    shape = tuple(int(n) for n in image.shape)
    _check_shape(path, shape)
    header = image.header
    name = type(image).__name__.replace("Image", "").replace("Pair", "")
    if "Nifti" in name and int(header["intent_code"]) == _LABELS:
        raise InputError(f"{path}: says that it holds labels, not an image; give the image that they were drawn on")
    notes: list[str] = []
    if "Nifti" in name:
        affine, known = believed_affine(header, shape, notes)
    else:
        affine, known = np.asarray(image.affine, float), "MGH" in name and int(header["goodRASFlag"]) > 0
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise InputError(f"{path}: its orientation (affine) is not made of numbers; export it again")
    if "Nifti" not in name and "MGH" not in name:
        notes.append("Analyze files do not say left from right; stored right-to-left was assumed")
    elif not known and not any("2-D" in note for note in notes):
        notes.append(
            "the file does not say how it lies in the patient (in NIfTI, qform_code and sform_code are 0): planes "
            "and sides are not known, stored right-to-left, back-to-front, feet-to-head was assumed"
        )
    voxels = _Voxels(path, image.dataobj, shape, named)
    if "MGH" not in name and int(header["bitpix"]) != 8 * voxels.kind.itemsize:
        notes.append(
            f"the header says {int(header['bitpix'])} bits a voxel, its type has {8 * voxels.kind.itemsize}: believed"
        )
    if "MGH" not in name:
        voxels.note_excess()
    return NeuroImage(f"nibabel {name}", shape, _TO_LPS @ affine, known, voxels, notes)


@dataclass
class NeuroImage:
    """An open file: ``shape`` of up to five axes (x, y, z, volume, component), ``affine`` to L, P, S."""

    reader: str
    shape: tuple[int, ...]
    affine: np.ndarray
    known: bool
    voxels: _Voxels
    notes: list[str] = field(default_factory=list)

    @property
    def volumes(self) -> int:
        return self.shape[3] if len(self.shape) > 3 else 1

    def volume(self, index: int, meta: dict[str, Any]) -> Volume:
        """Volume ``index``; ``meta`` learns notes and scaling."""
        meta["notes"] += self.notes
        components = self.shape[4] if len(self.shape) > 4 else 1
        if components > 1 and not self.voxels.is_colour:
            meta["notes"].append(f"each voxel has {components} components; the first was taken")
        self.voxels.prepare(index)
        meta["notes"] += self.voxels.notes
        meta["luts"] = ["slope and intercept"] if self.voxels.scale != (1.0, 0.0) else []
        full = tuple((*self.shape[:3], 1, 1)[:3])
        calls: list[int] = []

        def fetch(axis: int, position: int) -> np.ndarray:
            calls.append(axis)
            return self.voxels.plane(index, axis, position, whole=len(calls) > 1)

        return Volume(full, self.affine, fetch, known=self.known)  # type: ignore[arg-type]


class _Voxels:
    """Slices of the voxels of a file: from a map of an uncompressed one, from memory of a compressed one.

    Args:
        path: for messages.
        proxy: nibabel's.
        shape: of up to five axes.
        named: keeps the name that nibabel opened alive.
    """

    def __init__(self, path: str, proxy: Any, shape: tuple[int, ...], named: FittingName) -> None:
        from nibabel.arrayproxy import ArrayProxy

        self.path, self.shape, self.kind, self.named = path, shape, np.dtype(proxy.dtype), named
        self.scale = (float(proxy.slope), float(proxy.inter))
        file_like = proxy.file_like
        name = getattr(file_like, "filename", None) or (file_like if isinstance(file_like, (str, Path)) else named.path)
        self.file, self.offset = str(name), int(proxy.offset)
        self.packed = self.file.lower().endswith((".gz", ".mgz"))
        self._check_length()
        self.raw = ArrayProxy(file_like, (shape, self.kind, self.offset, 1.0, 0.0), mmap="c")
        self.kept: dict[int, np.ndarray] = {}
        self.notes: list[str] = []
        self.volume: tuple[int, np.ndarray] | None = None

    @property
    def is_colour(self) -> bool:
        """Three or four components of 8 bits."""
        return len(self.shape) > 4 and self.shape[4] in (3, 4) and self.kind == np.uint8

    def plane(self, index: int, axis: int, position: int, *, whole: bool) -> np.ndarray:
        """``[C, A, B]`` across ``axis``; with ``whole``, uncompressed files too are read at once."""
        where: list[Any] = [np.s_[:]] * min(3, len(self.shape))
        self.prepare(index)
        try:
            block = self._unpacked(index) if self.packed else self._whole(index) if whole else None
            if axis < len(where):
                where[axis] = position
            found = block[tuple(where)] if block is not None else self.raw[(*where, *self._extra(index))]
        except InputError:
            raise
        except (OSError, EOFError, ValueError, gzip.BadGzipFile):
            raise InputError(f"{self.path}: the voxel data is truncated or damaged; export it again") from None
        found = np.asarray(found)
        if len(self.shape) == 2 and axis != 2:
            found = found[:, None]
        return _scaled(found, self.scale, self.is_colour)

    def prepare(self, index: int) -> None:
        """Unpack a compressed file, so that what there is to say of it is known."""
        if self.packed:
            self._unpacked(index)

    def _extra(self, index: int) -> tuple[Any, ...]:
        """What to take of the axes after the third: one volume, of it the first component or all colours."""
        component = np.s_[:3] if self.is_colour else 0
        return (index, component)[: max(0, len(self.shape) - 3)]

    def _whole(self, index: int) -> np.ndarray:
        if self.volume is None or self.volume[0] != index:
            check_bytes(self.path, int(np.prod(self.shape[:3])) * self.kind.itemsize * (3 if self.is_colour else 1))
            self.volume = index, np.asanyarray(self.raw[(*[np.s_[:]] * min(3, len(self.shape)), *self._extra(index))])
        return self.volume[1]

    def _unpacked(self, index: int) -> np.ndarray:
        """A volume of a compressed file: all of it is unpacked the first time, and kept where it is small enough."""
        count = int(np.prod(self.shape))
        one = int(np.prod(self.shape[:3])) * self.kind.itemsize
        whole = count * self.kind.itemsize <= _KEPT
        key = -1 if whole else index
        if key not in self.kept:
            start, size = (self.offset, count * self.kind.itemsize) if whole else (self.offset + index * one, one)
            with open(self.file, "rb") as stream:
                data, there = unpacked(self.path, stream, kind="gzip", claimed=self.offset + count * self.kind.itemsize,
                                       keep=(start, start + size))  # fmt: skip
            self._note(there - self.offset - count * self.kind.itemsize)
            self.kept = {key: data.view(self.kind)}
        if not whole:
            return self.kept[key].reshape(self.shape[:3], order="F")
        full = self.kept[key].reshape(self.shape, order="F")
        return full[(*[np.s_[:]] * min(3, len(self.shape)), *self._extra(index))]

    def note_excess(self) -> None:
        """Say where an uncompressed file is longer than its header says; of a compressed one reading it tells."""
        if not self.packed:
            self._note(os.path.getsize(self.file) - self.offset - int(np.prod(self.shape)) * self.kind.itemsize)

    def _note(self, excess: int) -> None:
        if excess > 1 and not self.notes:
            self.notes.append(f"{excess:,} bytes follow the voxels that the header describes; the first were read")

    def _check_length(self) -> None:
        """Compare what the header claims with what the file can hold, before any memory is asked for."""
        if not os.path.isfile(self.file):
            raise InputError(f"{self.path}: is half of a pair; put its .hdr and its .img in one folder")
        size, claimed = os.path.getsize(self.file), self.kind.itemsize
        for n in self.shape:
            claimed *= n
        volumes = self.shape[3] if len(self.shape) > 3 else 1
        _check_claim(self.path, claimed, volumes, size * _GZIP_LIMIT if self.packed else size - self.offset)


def _check_claim(path: str, claimed: int, volumes: int, most: int) -> None:
    """Refuse ``claimed`` bytes of voxels where the file holds ``most``, and volumes that no memory holds."""
    if claimed > most:
        raise InputError(f"{path}: its header claims {claimed:,} bytes of voxels, which the file cannot hold")
    if claimed // max(1, volumes) > 4 * MAX_BYTES:
        raise InputError(f"{path}: one volume takes {claimed / 2**30:.1f} GiB; crop or resample it first")


def _check_mgz(path: str) -> None:
    """A packed MGH file's claim, before nibabel unpacks all of it on its way to what follows the voxels."""
    with open(path, "rb") as file:
        head = file.read(_MGH_LOOK)
    if head[:2] != b"\x1f\x8b":
        return
    with contextlib.suppress(zlib.error, struct.error):
        version, *sides, frames, kind = struct.unpack(">7i", zlib.decompressobj(31).decompress(head, 28)[:28])[:6]
        if version == 1 and kind in _MGH_BYTES and min(*sides, frames) > 0:
            claimed = math.prod(sides) * frames * _MGH_BYTES[kind]
            _check_claim(path, claimed, frames, os.path.getsize(path) * _GZIP_LIMIT)


def _scaled(plane: np.ndarray, scale: tuple[float, float], colour: bool) -> np.ndarray:
    """``[A, B]`` (RGB records, or colours as a last axis) -> ``[C, A, B]``, scaled in double precision."""
    if plane.dtype.names:
        return np.stack([plane[name] for name in plane.dtype.names[:3]])
    if plane.dtype.kind == "c":
        plane = np.abs(plane)
    plane = plane.astype(plane.dtype.newbyteorder("="), copy=False)
    plane = np.moveaxis(plane, -1, 0) if colour else plane[None]
    if scale != (1.0, 0.0):
        plane = (plane.astype(np.float64) * scale[0] + scale[1]).astype(np.float32)
    return plane


def _check_shape(path: str, shape: tuple[int, ...]) -> None:
    if not 2 <= len(shape) <= 5 or any(n < 1 for n in shape):
        raise InputError(f"{path}: has the shape {shape}; a volume with 2 to 5 axes, none empty, is needed")
