"""Frames of a series, or of one enhanced multi-frame file, put in order.

Frames belong together when series, size and orientation agree, whether they come one a file (also as enhanced files of
one frame), many a file, or as the parts of a concatenation. They are ordered by position along the slice normal, never
by name or instance number; only where positions or orientations are missing, by SliceLocation, then by instance number.
Frames at the same position (phases, echoes, b-values) are dealt out, in instance
order, to volumes of their own, of which ``frame`` chooses one. Uneven gaps and gantry tilt are tolerated: slices as
acquired are not touched; across them, gaps are bridged by linear interpolation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom

from scripts.errors import InputError
from scripts.reading.case import MAX_PIXELS
from scripts.reading.dicom.attributes import UNREADABLE, number, numbers, remark_on, whole, word
from scripts.reading.dicom.file import DicomFile
from scripts.reading.dicom.kinds import NO_IMAGE, is_projection, kind_of
from scripts.reading.dicom.rescale import functional
from scripts.reading.orientation import Volume

_SAME_PLACE = 1e-2
"""Millimetres within which two positions are one."""
_SAME_TURN = 0.02
"""Difference of direction cosines within which two orientations are one."""
_MAX_FRAMES = 10_000
"""A header among many that announces as many frames or more is taken for a damaged one."""


@dataclass(frozen=True)
class FrameRef:
    """Where a frame is: in which file, at which index, and in the patient (None where the file does not say).

    ``location`` is its SliceLocation, ``part_of`` the concatenation that its file is a part of ("" for none), and
    ``is_projection`` says that it shows all depths at once, so that its neighbours are other views, not other slices.
    """

    file: DicomFile
    index: int
    count: int
    shape: tuple[int, int]
    series: str
    series_number: int
    order: tuple[int, int, int]
    kind: int
    position: tuple[float, float, float] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, float] | None
    location: float | None = None
    part_of: str = ""
    is_projection: bool = False


def frames_of(file: DicomFile, header: pydicom.Dataset) -> list[FrameRef]:
    """One `FrameRef` a frame of a file."""
    count = max(1, whole(header, "NumberOfFrames", 1))
    offsets = numbers(header, "GridFrameOffsetVector", count) if count > 1 else None
    acquisition, instance = whole(header, "AcquisitionNumber"), whole(header, "InstanceNumber")
    part_of = word(header, "ConcatenationUID")
    if part_of:
        instance = whole(header, "InConcatenationNumber", instance)
    shared: dict[str, Any] = {
        "file": file, "count": count, "shape": (whole(header, "Rows"), whole(header, "Columns")),
        "series": word(header, "SeriesInstanceUID"), "series_number": whole(header, "SeriesNumber"),
        "kind": kind_of(header), "location": number(header, "SliceLocation"), "part_of": part_of,
        "is_projection": is_projection(header),
    }  # fmt: skip
    found = []
    for index in range(count):
        position, orientation, spacing = _geometry(header, index, count)
        if offsets is not None and position is not None and orientation is not None:
            normal = np.cross(orientation[:3], orientation[3:])
            position = tuple(np.asarray(position) + normal * (offsets[index] - offsets[0]))
        found.append(
            FrameRef(
                index=index,
                order=(acquisition, instance, index),
                position=position,  # type: ignore[arg-type]
                orientation=orientation,
                spacing=spacing,
                **shared,
            )  # fmt: skip
        )
    return found


def usable_frames(file: DicomFile, header: pydicom.Dataset) -> list[FrameRef]:
    """As `frames_of`, for one file of many: none where its header gives no size, or one that cannot be."""
    rows, columns = whole(header, "Rows"), whole(header, "Columns")
    if whole(header, "NumberOfFrames", 1) >= _MAX_FRAMES or min(rows, columns) <= 0 or rows * columns > MAX_PIXELS:
        return []
    return frames_of(file, header)


def _geometry(header: pydicom.Dataset, index: int, count: int) -> tuple[tuple | None, tuple | None, tuple | None]:
    """(position, orientation, row and column spacing) of a frame, each None where absent or impossible."""
    of_all = count == 1 or number(header, "GridFrameOffsetVector") is not None
    place = functional(header, index, "PlanePositionSequence") or (header if of_all else None)
    turn = functional(header, index, "PlaneOrientationSequence") or header
    measures = functional(header, index, "PixelMeasuresSequence") or header
    position = numbers(place, "ImagePositionPatient", 3) if place is not None else None
    orientation = numbers(turn, "ImageOrientationPatient", 6)
    if orientation is not None:
        row, column = orientation[:3], orientation[3:]
        product = abs(sum(a * b for a, b in zip(row, column, strict=True)))
        if max(abs(math.hypot(*row) - 1), abs(math.hypot(*column) - 1), product) > 0.05:
            orientation = None
    spacing = numbers(measures, "PixelSpacing", 2) or numbers(header, "ImagerPixelSpacing", 2)
    if spacing is not None and not all(1e-4 < s < 1e3 for s in spacing):
        spacing = None
    return (*(tuple(v) if v is not None else None for v in (position, orientation, spacing)),)  # type: ignore[return-value]


def geometry_remarks(header: pydicom.Dataset) -> list[str]:
    """Notes on positions, orientations and distances that are written oddly or cannot be read."""
    found = []
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        if remark := remark_on(header, keyword):
            found.append(f"{keyword} is {remark}" + ("; it was left out" if remark == UNREADABLE else ""))
    return found


@dataclass
class Stack:
    """Frames of one series, shape and orientation; ``volumes[t][k]`` is ordered along the slice normal."""

    frames: list[FrameRef]
    volumes: list[list[FrameRef]]
    has_positions: bool

    @property
    def is_pile(self) -> bool:
        """Whether it is slices of which no file says where they lie: files of their own, and no projections."""
        return not self.has_positions and not self.frames[0].is_projection and len({f.file for f in self.frames}) > 1

    @property
    def kind(self) -> int:
        """What its frames are, of the kinds in `scripts.reading.dicom.kinds`."""
        return self.frames[0].kind

    @property
    def is_image(self) -> bool:
        """Whether there is something to describe: not so for segmentations, dose grids and maps."""
        return self.kind != NO_IMAGE

    @property
    def key(self) -> tuple[int, int, int, int, str, int]:
        """Sorts images before captures and scouts, the largest first, then the lowest series number, so that the choice
        is always the same. Plain films of a series have the size of one, since one is shown."""
        first = self.frames[0]
        size = len(self.volumes[0]) if self.has_positions else len(self.frames) if self.is_pile else first.count
        return (self.kind, -size, -len(self.frames), first.series_number, first.series, first.index)


def stacks_of(frames: list[FrameRef]) -> list[Stack]:
    """Group frames and order each group; the stack to take by default comes first."""
    groups: dict[tuple, list[list[FrameRef]]] = {}
    for frame in frames:
        clip = (frame.part_of or frame.file.name) if frame.count > 1 and frame.position is None else frame.part_of
        alike = groups.setdefault((frame.series, frame.kind, frame.shape, frame.orientation is None, clip), [])
        group = next((g for g in alike if _same_turn(g[0], frame)), None)
        if group is None:
            alike.append([frame])
        else:
            group.append(frame)
    found = [group for alike in groups.values() for group in alike]
    stacks = [_stack(sorted(group, key=lambda f: (f.order, f.file.name))) for group in found]
    return sorted(stacks, key=lambda stack: stack.key)


def noted_series(stack: Stack, groups: int) -> dict[str, Any]:
    """What ``meta["series"]`` says of the stack that was read; `same_stack` finds it again by that."""
    noted = {"number": stack.frames[0].series_number, "images": len(stack.frames), "groups": groups}
    return noted if stack.is_image else {**noted, "is_image": False}


def same_stack(path: str, stacks: list[Stack], noted: Mapping[str, Any]) -> Stack:
    """The group of images that the reader took.

    Raises:
        InputError: the files no longer say which it was.
    """
    number, images, is_image = noted.get("number"), noted.get("images"), noted.get("is_image", True)
    alike = [s for s in stacks if (s.frames[0].series_number, len(s.frames), s.is_image) == (number, images, is_image)]
    if not alike:
        raise InputError(f"{path}: has changed since it was captioned; caption it again")
    if len({s.frames[0].series for s in alike}) > 1:
        raise InputError(f"{path}: holds several series with number {number}; give the folder of one series")
    return alike[0]


def _same_turn(first: FrameRef, other: FrameRef) -> bool:
    """Orientations equal to about a degree; both absent counts as equal."""
    if first.orientation is None or other.orientation is None:
        return first.orientation is other.orientation
    return max(abs(a - b) for a, b in zip(first.orientation, other.orientation, strict=True)) < _SAME_TURN


def _stack(frames: list[FrameRef]) -> Stack:
    placed = len(frames) > 1 and all(f.position is not None and f.orientation is not None for f in frames)
    if not placed:
        frames = _without_positions(frames)
        return Stack(frames, [[f] for f in frames], False)
    depth = depths(frames)
    places: list[list[FrameRef]] = []
    last = -np.inf
    for k in np.argsort(depth, kind="stable"):
        if depth[k] - last > _SAME_PLACE:
            places.append([])
            last = depth[k]
        places[-1].append(frames[int(k)])
    if len(places) == 1:
        return Stack(frames, [[f] for f in frames], False)
    deepest = max(len(p) for p in places)
    volumes = [[p[t] for p in places if t < len(p)] for t in range(deepest)]
    return Stack(frames, volumes, True)


def _without_positions(frames: list[FrameRef]) -> list[FrameRef]:
    """In the order of SliceLocation where all have one, else of instance numbers, else as they are (by name)."""
    if len({f.location for f in frames}) > 1 and all(f.location is not None for f in frames):
        return sorted(frames, key=lambda f: (f.location, f.order[1], f.order[2]))
    return sorted(frames, key=lambda f: f.order[1:])


def order_of(frames: list[FrameRef]) -> str:
    """What frames without positions are ordered by, for notes."""
    if len({f.location for f in frames}) > 1 and all(f.location is not None for f in frames):
        return "SliceLocation"
    return "instance number" if len({f.order[1] for f in frames}) > 1 else "file name"


def depths(frames: list[FrameRef]) -> np.ndarray:
    """Millimetres of each frame along the normal of the first frame."""
    orientation = frames[0].orientation or (1, 0, 0, 0, 1, 0)
    normal = np.cross(orientation[:3], orientation[3:])
    return np.array([np.dot(normal, f.position or (0, 0, 0)) for f in frames])


def volume_of(frames: list[FrameRef], view: Callable[[FrameRef], np.ndarray]) -> tuple[Volume, list[str]]:
    """(volume, notes) of frames ordered along their normal; ``view`` decodes one as ``[C, H, W]``."""
    first = frames[0]
    depth = depths(frames)
    steps = np.diff(depth)
    step = float(np.median(steps)) if len(steps) else 1.0
    row_spacing, column_spacing = first.spacing or (1.0, 1.0)
    right, down = np.array(first.orientation[:3]), np.array(first.orientation[3:])  # type: ignore[index]
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = right * column_spacing, down * row_spacing
    affine[:3, 2], affine[:3, 3] = np.cross(right, down) * step, first.position
    uneven = bool(len(steps) and (steps.max() > 1.05 * step or steps.min() < 0.95 * step))
    notes = [f"slice distances differ ({steps.min():.2f} to {steps.max():.2f} mm)"] if uneven else []
    notes += _tilt_note(frames)
    regular = np.arange(depth[0], depth[-1] + step / 2, step) if uneven else depth
    shape = (first.shape[1], first.shape[0], len(frames))
    one_file = len({f.file for f in frames}) == 1
    return Volume(shape, affine, _fetcher(frames, view, depth, regular), as_stored=one_file), notes


def _tilt_note(frames: list[FrameRef]) -> list[str]:
    """Say so when slices are stacked at a slant (CT gantry tilt); slices across them are then sheared by it."""
    travel = np.subtract(frames[-1].position, frames[0].position)  # type: ignore[arg-type]
    length = float(np.linalg.norm(travel))
    orientation = frames[0].orientation or (1, 0, 0, 0, 1, 0)
    along = abs(float(np.dot(np.cross(orientation[:3], orientation[3:]), travel)))
    angle = float(np.degrees(np.arccos(min(1.0, along / length)))) if length > 0 else 0.0
    return [f"slices are stacked at a slant of {angle:.1f} degrees"] if angle > 1.0 else []


def _fetcher(
    frames: list[FrameRef], view: Callable[[FrameRef], np.ndarray], depth: np.ndarray, regular: np.ndarray
) -> Callable[[int, int], np.ndarray]:
    """`Volume.fetch` over voxel axes (column, row, slice); all slices are decoded once when one across is asked for."""
    cache: list[np.ndarray] = []

    def fetch(axis: int, position: int) -> np.ndarray:
        if axis == 2:
            image = cache[position] if cache else view(frames[position])
            return image.transpose(0, 2, 1)
        if not cache:
            cache.extend(view(frame) for frame in frames)
        across = np.stack([s[:, :, position] if axis == 0 else s[:, position, :] for s in cache], axis=-1)
        return across if regular is depth else _bridge(across, depth, regular)

    return fetch


def _bridge(across: np.ndarray, depth: np.ndarray, regular: np.ndarray) -> np.ndarray:
    """``[C, A, K]`` at uneven depths -> ``[C, A, K']`` at regular ones, linearly."""
    upper = np.clip(np.searchsorted(depth, regular), 1, len(depth) - 1)
    share = ((regular - depth[upper - 1]) / (depth[upper] - depth[upper - 1])).clip(0, 1).astype(np.float32)
    return across[..., upper - 1] * (1 - share) + across[..., upper] * share
