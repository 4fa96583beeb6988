"""Voxels of NRRD and MetaImage files: from the bytes that a header describes to slices.

Shape legend: ``T`` volumes of a sequence, ``Z Y X`` voxels (the last axis is the fastest in the file), ``C``
components.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from scripts.errors import InputError
from scripts.reading.case import check_bytes
from scripts.reading.orientation import Volume
from scripts.reading.unpacking import unpacked


@dataclass
class VoxelLayout:
    """What a header says of its voxels.

    Attributes:
        path: the header's file.
        files: where the voxels are, in order; the header's own file where they follow it.
        kind: of numbers, with byte order.
        shape: ``[..., fastest]``, as in the file.
        encoding: "raw", "gzip", "bzip2", "text" or "hex".
        skip: bytes to pass over in each file before the voxels; -1 where these end the file.
        skip_unpacked: bytes to pass over after unpacking.
    """

    path: str
    files: list[str]
    kind: np.dtype
    shape: tuple[int, ...]
    encoding: str = "raw"
    skip: int = 0
    skip_unpacked: int = 0


@dataclass
class VoxelFile:
    """``array`` ``[T, Z, Y, X, C]`` as stored; ``affine`` voxel (x, y, z) -> millimetres in L, P, S.

    ``known``: the file says how its voxels lie in the patient. ``colour``: components are red, green and blue.
    """

    array: np.ndarray
    affine: np.ndarray
    reader: str
    known: bool = True
    colour: bool = False
    notes: list[str] = field(default_factory=list)

    def volume(self, index: int) -> Volume:
        """One volume of the sequence."""
        block = self.array[index]

        def fetch(axis: int, position: int) -> np.ndarray:
            plane = np.take(block, position, axis=2 - axis)  # the remaining two axes, slowest first
            return plane.astype(plane.dtype.newbyteorder("="), copy=False).transpose(2, 1, 0)

        return Volume(block.shape[2::-1], self.affine, fetch, known=self.known)  # type: ignore[arg-type]


def numbers_of(fields: Mapping[str, str], name: str) -> list[float] | None:
    """The numbers of a header's field; None where it is absent, or not made of numbers."""
    try:
        return [float(word) for word in fields[name].split()] if name in fields else None
    except ValueError:
        return None


def read_voxels(layout: VoxelLayout, notes: list[str]) -> np.ndarray:
    """The voxels, of the layout's shape; uncompressed ones of one file as a view of the file.

    Raises:
        InputError: there are fewer than the header says, or their compressed data is damaged.
    """
    path, count = layout.path, int(np.prod([float(n) for n in layout.shape]))
    claimed = count * layout.kind.itemsize
    check_bytes(path, claimed)
    share = len(layout.files)
    if claimed % share:
        raise InputError(f"{path}: its voxels do not divide evenly among its {share} files; export it again")
    if share == 1 and layout.encoding == "raw":
        return _mapped(layout, layout.files[0], claimed, notes)
    parts = [_of_file(layout, file, claimed // share, notes) for file in layout.files]
    whole = parts[0] if share == 1 else np.concatenate(parts)
    return whole.view(layout.kind).reshape(layout.shape)


def _mapped(layout: VoxelLayout, file: str, claimed: int, notes: list[str]) -> np.ndarray:
    start = _raw_start(layout, file, claimed, notes)
    return np.memmap(file, layout.kind, "r", start, layout.shape)


def _raw_start(layout: VoxelLayout, file: str, claimed: int, notes: list[str]) -> int:
    """Where raw voxels begin.

    Raises:
        InputError: the file is too short.
    """
    size = os.path.getsize(file)
    start = size - claimed if layout.skip < 0 else layout.skip + layout.skip_unpacked
    if start < 0 or start + claimed > size:
        raise InputError(f"{layout.path}: its header claims {claimed:,} bytes of voxels, which the file cannot hold")
    if size - start - claimed > 1:
        notes.append(
            f"{size - start - claimed:,} bytes follow the voxels that the header describes; the first were read"
        )
    return start


def _of_file(layout: VoxelLayout, file: str, claimed: int, notes: list[str]) -> np.ndarray:
    """The bytes of one of the files, ``[claimed]`` uint8."""
    if layout.encoding == "raw":
        with open(file, "rb") as stream:
            stream.seek(_raw_start(layout, file, claimed, notes))
            return np.frombuffer(stream.read(claimed), np.uint8)
    with open(file, "rb") as stream:
        stream.seek(max(0, layout.skip))
        if layout.encoding in ("gzip", "bzip2"):
            skip = max(0, layout.skip_unpacked)
            _refuse_impossible(layout, os.path.getsize(file), claimed)
            found, there = unpacked(layout.path, stream, kind=layout.encoding, claimed=claimed + skip,
                                    keep=(skip, skip + claimed))  # fmt: skip
            if there > claimed + skip:
                notes.append(f"{there - claimed - skip:,} bytes follow the voxels that the header describes")
            return found
        return _of_text(layout, stream.read(), claimed)


def _refuse_impossible(layout: VoxelLayout, size: int, claimed: int) -> None:
    """Deflate shrinks at most 1,032 times; bzip2 far more, which the limits of `unpacked` are for."""
    if layout.encoding == "gzip" and claimed > size * 1040:
        raise InputError(f"{layout.path}: its header claims {claimed:,} bytes of voxels, which the file cannot hold")


def _of_text(layout: VoxelLayout, data: bytes, claimed: int) -> np.ndarray:
    try:
        if layout.encoding == "hex":
            found = np.frombuffer(bytes.fromhex(data.decode("ascii")), np.uint8)
        else:
            words = data.decode("ascii").replace(",", " ").split()
            numbers = [float(w) if layout.kind.kind == "f" else int(float(w)) for w in words]
            found = np.array(numbers).astype(layout.kind).view(np.uint8)
    except (ValueError, OverflowError):
        raise InputError(f"{layout.path}: its voxels are written as text that is not made of numbers") from None
    if len(found) < claimed:
        raise InputError(f"{layout.path}: its header claims {claimed:,} bytes of voxels, which the file does not hold")
    return found[:claimed]


def arranged(file: VoxelFile, components: int) -> VoxelFile:
    """Choose among components: three or four of 8 bits, and those that are named colours, are red, green, blue
    (alpha dropped); of others the first is taken, and that is noted."""
    array = file.array
    if components == 1:
        return file
    if components in (3, 4) and (array.dtype == np.uint8 or (file.colour and array.dtype.kind == "u")):
        file.array, file.colour = array[..., :3], True
    else:
        file.array, file.colour = array[..., :1], False
        file.notes.append(f"each voxel has {components} components; the first was taken")
    return file
