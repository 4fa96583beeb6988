"""Source voxels of a view's pixels, found by reading the places instead of the values.

The readers choose, turn and flip slices. Here the same code is run over a volume whose "values" are voxel indices, so
the way back is exact by construction and follows any change of the way there.

Legend: H x W the view as read; voxel axes X, Y, Z are those of a NIfTI file, or (column, row, frame) of DICOM.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scripts.errors import InputError
from scripts.reading.dicom.file import DicomFile, quiet_pydicom
from scripts.reading.dicom.headers import frames_at
from scripts.reading.dicom.stack import FrameRef, Stack, same_stack, stacks_of, volume_of
from scripts.reading.orientation import Volume
from scripts.reading.sources import identify
from scripts.reading.volumes import open_volume

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_STRAIGHT = 0.1
"""Millimetres by which slices may lie off a regular grid that is still written as one volume."""


@dataclass(frozen=True)
class SourceGrid:
    """The voxels that a view shows.

    Attributes:
        shape: voxels along X, Y, Z.
        affine: ``[4, 4]``, voxel index -> millimetres in NIfTI's right, front, head (RAS).
        indices: ``[3, H, W]`` int, the voxel of each pixel.
        known: whether the file says where in the patient the voxels are.
        frames: the DICOM frames along Z; empty for other files.
        regular: whether the slices really lie at even distances, as ``affine`` has it.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray
    indices: np.ndarray
    known: bool
    frames: tuple[FrameRef, ...] = ()
    regular: bool = True

    def place(self, mask: np.ndarray) -> np.ndarray:
        """A mask ``[H, W]`` as uint8 voxels ``[X, Y, Z]``."""
        voxels = np.zeros(self.shape, np.uint8)
        x, y, z = self.indices[:, mask]
        voxels[x, y, z] = 1
        return voxels


def source_grid(meta: Mapping[str, Any], place: int = 0) -> SourceGrid:
    """The grid behind the view at ``place`` among those made from one file or folder.

    Args:
        meta: what the reader noted for that file (one of ``image_meta["views"]`` where there are several).
        place: from `file_of_view`.

    Raises:
        InputError: the image came from no file, or the file has changed.
    """
    path, kind = meta.get("path"), meta.get("kind")
    if not path or kind not in ("dicom", "volume", "picture"):
        raise InputError("an image given as an array has no source geometry: caption the file it came from")
    if kind == "picture":
        return _flat(meta["resize"]["from"], np.diag([-1.0, -1.0, 1.0, 1.0]), known=False)
    slices = meta.get("slice") or [0]
    frame = (meta.get("frame") or [0])[place // len(slices)]
    if kind == "volume":
        return _volume_grid(str(path), meta, frame=frame, slice_index=slices[place % len(slices)])
    return _dicom_grid(str(path), meta, frame=frame, place=place)


def _flat(size: tuple[int, int] | list[int], affine: np.ndarray, *, known: bool, **more: Any) -> SourceGrid:
    """One slice whose columns run along X and rows along Y."""
    rows, columns = size
    y, x = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    return SourceGrid((columns, rows, 1), affine, np.stack([x, y, np.zeros_like(x)]), known, **more)


def _volume_grid(path: str, meta: Mapping[str, Any], *, frame: int, slice_index: int) -> SourceGrid:
    _, _, get_volume = open_volume(path)
    volume = get_volume(frame, {"notes": [], "luts": []})
    indices = _index_slice(volume, meta["orientation"]["plane"], slice_index)
    return SourceGrid(volume.shape, _LPS_TO_RAS @ volume.affine, indices, volume.known)


def _index_slice(volume: Volume, plane: str, slice_index: int) -> np.ndarray:
    """Voxel indices ``[3, H, W]`` of a slice as the reader shows it."""

    def fetch(axis: int, position: int) -> np.ndarray:
        rest = [np.arange(length) for index, length in enumerate(volume.shape) if index != axis]
        grids = list(np.meshgrid(*rest, indexing="ij"))
        grids.insert(axis, np.full_like(grids[0], position))
        return np.stack(grids)

    twin = Volume(volume.shape, volume.affine, fetch, as_stored=volume.as_stored)
    return np.ascontiguousarray(twin.slice(plane, slice_index))


def _dicom_grid(path: str, meta: Mapping[str, Any], *, frame: int, place: int) -> SourceGrid:
    with quiet_pydicom(), identify(path) as found:
        stack = same_stack(path, _stacks(found.files), meta.get("series") or {})
    if not stack.has_positions:
        shown = stack.frames[(meta.get("frame") or [0])[place]]
        return _one_frame(shown, meta["resize"]["from"])
    refs = stack.volumes[frame]
    volume, _ = volume_of(refs, lambda ref: np.zeros((1, *ref.shape), np.float32))
    slices = meta.get("slice") or [0]
    plane, index = meta["orientation"]["plane"], slices[place % len(slices)]
    along = volume.voxel_axis({"sagittal": 0, "coronal": 1, "axial": 2}[plane])
    number = {ref: position for position, ref in enumerate(refs)}

    def places(ref: FrameRef) -> np.ndarray:
        y, x = np.meshgrid(np.arange(ref.shape[0]), np.arange(ref.shape[1]), indexing="ij")
        return np.stack([x, y, np.full_like(x, number[ref])]).astype(np.float32)

    twin, _ = volume_of(refs, places)  # slices across uneven gaps are interpolated, and so are their places
    indices = np.rint(twin.slice(plane, index)).astype(np.int64)
    regular = _is_regular(refs, volume.affine)
    if regular or along != 2:
        return SourceGrid(volume.shape, _LPS_TO_RAS @ volume.affine, indices, True, tuple(refs), regular)
    shown = refs[int(indices[2].flat[0])]  # an acquired slice of an uneven stack: exact on its own
    affine = volume.affine.copy()
    affine[:3, 3] = shown.position
    indices[2] = 0
    return SourceGrid((*volume.shape[:2], 1), _LPS_TO_RAS @ affine, indices, True, (shown,))


def _stacks(files: list[DicomFile]) -> list[Stack]:
    """The frames of files, grouped as the reader groups them."""
    frames: list[FrameRef] = []
    for file in files:
        try:
            frames += frames_at(file)
        except InputError:
            continue
    return stacks_of(frames)


def _one_frame(ref: FrameRef, size: list[int]) -> SourceGrid:
    """A frame without neighbours, where its header says it is."""
    row_spacing, column_spacing = ref.spacing or (1.0, 1.0)
    known = ref.position is not None and ref.orientation is not None
    right, down = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    if known:
        right, down = np.array(ref.orientation[:3]), np.array(ref.orientation[3:])
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = right * column_spacing, down * row_spacing, np.cross(right, down)
    if known:
        affine[:3, 3] = ref.position
    return _flat(size, _LPS_TO_RAS @ affine, known=known, frames=(ref,))


def _is_regular(refs: list[FrameRef], affine: np.ndarray) -> bool:
    steps = np.arange(len(refs))[:, None] * affine[:3, 2] + affine[:3, 3]
    return bool(np.abs(steps - np.array([ref.position for ref in refs])).max() < _STRAIGHT)
