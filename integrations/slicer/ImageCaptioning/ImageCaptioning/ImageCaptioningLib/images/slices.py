"""The slice on screen as a picture: resampled in the view's plane, with the window that the user set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from ..errors import CaptioningError
from ..words import _
from .sequences import frame_of

MAX_SIDE = 2048
GRID = 1e-3
"""Rounding allowed in millimetres and voxels."""
ALONG = 0.01
"""Sine of the angle below which a voxel axis counts as lying in the view's plane (0.6 degrees)."""
PLANES = {"axial": ("S", 2, 1.0), "coronal": ("P", 1, -1.0), "sagittal": ("L", 0, -1.0)}
"""Plane -> towards what the captioner counts its slices, that RAS axis, and its sign on it."""


@dataclass(frozen=True)
class Picture:
    """A slice as it is on screen.

    Attributes:
        pixels: uint8 ``[H, W]`` or ``[H, W, 3]``, rows from top to bottom.
        to_ras: 4 x 4, (column, row, 0, 1) to millimetres.
        orientation: the view's, such as ``Axial``.
        offset: the view's slice offset in millimetres.
        window: centre and width, or None for colour.
        plane, index: which slice of the volume this is, as the captioner counts; None for one between or across slices.
        to_own: 4 x 4, (column, row, 0, 1) to the volume's own millimetres in RAS: without the transform that it is
            under, so where its file says it lies.
        grid: 4 x 4, voxel indices to those.
        layers: voxels along the grid's third axis.
        values: what the pixels were windowed from, ``[H, W]``; None for colour.
        cut: the view's SliceToRAS, 4 x 4.
        frame: number of the sequence's frame, or None.
        inside: name of the segment that the picture is restricted to, or None.
    """

    pixels: np.ndarray
    to_ras: np.ndarray
    orientation: str
    offset: float
    window: tuple[float, float] | None
    plane: str | None
    index: int | None
    to_own: np.ndarray
    grid: np.ndarray
    layers: int
    values: np.ndarray | None
    cut: np.ndarray
    frame: int | None = None
    inside: str | None = None


def slice_picture(volume: Any, slice_node: Any) -> Picture:
    """The whole slice of ``volume`` in the plane of a slice view, whatever part of it is zoomed in.

    Args:
        volume: ``vtkMRMLScalarVolumeNode``, or a vector volume with three components.
        slice_node: ``vtkMRMLSliceNode`` of the view.

    Raises:
        CaptioningError: there is no image, the view lies outside it, or cuts a single picture into a line.
    """
    if volume is None or volume.GetImageData() is None:
        raise CaptioningError(_("there is no volume to caption: choose one that has an image"))
    to_slice = np.linalg.inv(matrix(slice_node.GetSliceToRAS())) @ ijk_to_ras(volume)
    size = volume.GetImageData().GetDimensions()
    low, high = _extent(to_slice, size)
    if low[2] > GRID or high[2] < -GRID:
        raise CaptioningError(_("the slice lies outside the volume: move the slider onto the image"))
    if _cuts_a_picture(to_slice, size):
        raise CaptioningError(
            _("the view cuts across a picture of one plane: turn it with 'Rotate to volume plane' in the view's bar")
        )
    spacing = _spacing(to_slice, high - low)
    count = np.maximum(1, np.round((high - low)[:2] / spacing)).astype(int)
    origin = (low + high)[:2] / 2 - (count - 1) * spacing / 2
    values = _resample(volume, np.linalg.inv(to_slice), origin, spacing, count)
    if values.ndim == 3 and values.shape[2] not in (3, 4):
        raise CaptioningError(
            _("the volume has {count} values a pixel, which is no picture: choose another one").format(
                count=values.shape[2]
            )
        )
    to_ras = matrix(slice_node.GetSliceToRAS()) @ np.array(
        [[spacing, 0, 0, origin[0]], [0, -spacing, 0, origin[1] + (count[1] - 1) * spacing], [0, 0, 1, 0], [0, 0, 0, 1]]
    )
    pixels, window = _windowed(values, volume.GetDisplayNode())
    plane, index = volume_slice(volume, slice_node)
    grid = own_grid(volume)
    to_own = grid @ np.linalg.inv(ijk_to_ras(volume)) @ to_ras
    frame = frame_of(volume)
    return Picture(
        pixels, to_ras, slice_node.GetOrientation(), float(slice_node.GetSliceOffset()), window, plane, index, to_own,
        grid, size[2], values if values.ndim == 2 else None, matrix(slice_node.GetSliceToRAS()),
        None if frame is None else frame.number,
    )  # fmt: skip


def middle_view(volume: Any) -> Any:
    """A slice node, of no scene, that cuts a volume's middle slice as it was acquired: the plane of its first two axes.

    Raises:
        CaptioningError: the volume has no image, or is bent.
    """
    if volume is None or volume.GetImageData() is None:
        raise CaptioningError(_("there is no volume to caption: choose one that has an image"))
    to_ras = ijk_to_ras(volume)
    across = np.cross(to_ras[:3, 0], to_ras[:3, 1])
    plane = min(PLANES, key=lambda name: -abs(across[PLANES[name][1]]))
    size = volume.GetImageData().GetDimensions()
    middle = to_ras @ [(size[0] - 1) / 2, (size[1] - 1) / 2, size[2] // 2, 1]
    view = slicer.vtkMRMLSliceNode()
    getattr(view, f"SetOrientationTo{plane.capitalize()}")()
    cut = matrix(view.GetSliceToRAS())
    cut[:3, 3] = middle[:3]
    tilt = _turn_to(cut[:3, 2], across / np.linalg.norm(across))
    cut[:3, :3] = tilt @ cut[:3, :3]
    view.GetSliceToRAS().DeepCopy(cut.ravel().tolist())
    view.UpdateMatrices()
    return view


def _turn_to(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The smallest rotation, 3 x 3, that brings a unit vector onto the line of another."""
    other = other if one @ other >= 0 else -other
    axis = np.cross(one, other)
    skew = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + skew + skew @ skew / (1 + one @ other)  # Rodrigues' formula


def volume_slice(volume: Any, slice_node: Any) -> tuple[str | None, int | None]:
    """(plane, index) of the view's slice in the volume's own grid, as the captioner counts; (None, None) if none.

    The captioner counts axial slices towards the head, coronal ones towards the back, sagittal ones towards the left,
    as the volume's file has it: under a transform that turns the volume, the view may be another one.
    """
    to_ras = own_grid(volume)
    view = to_ras @ np.linalg.inv(ijk_to_ras(volume)) @ matrix(slice_node.GetSliceToRAS())
    directions = to_ras[:3, :3] / np.linalg.norm(to_ras[:3, :3], axis=0)
    across = np.abs(directions.T @ view[:3, 2])  # of each voxel axis: 0 where it lies in the view's plane
    axis = int(across.argmax())
    if np.delete(across, axis).max() > ALONG:  # also a series with a tilted gantry, cut straight
        return None, None
    position = (np.linalg.inv(to_ras) @ view[:, 3])[axis]
    index, count = round(float(position)), volume.GetImageData().GetDimensions()[axis]
    if abs(position - index) > 0.5 + GRID or not 0 <= index < count:
        return None, None
    plane = next(p for p, (_, ras, _) in PLANES.items() if ras == int(np.abs(directions[:, axis]).argmax()))
    _, ras, sign = PLANES[plane]
    return plane, index if directions[ras, axis] * sign > 0 else count - 1 - index


def matrix(vtk_matrix: Any) -> np.ndarray:
    """``vtkMatrix4x4`` -> ``[4, 4]``."""
    return np.array([[vtk_matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def ijk_to_ras(volume: Any) -> np.ndarray:
    """Voxel indices to world millimetres, the volume's linear transform included."""
    parent = volume.GetParentTransformNode()
    if parent is None:
        return own_grid(volume)
    if not parent.IsTransformToWorldLinear():
        raise CaptioningError(_("the volume is under a transform that bends it: harden the transform first"))
    world = vtk.vtkMatrix4x4()
    parent.GetMatrixTransformToWorld(world)
    return matrix(world) @ own_grid(volume)


def own_grid(volume: Any) -> np.ndarray:
    """Voxel indices to the volume's own millimetres, the transform that it is under left out."""
    found = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(found)
    return matrix(found)


def _extent(to_slice: np.ndarray, size: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest slice coordinates of the volume's box, voxel edges included."""
    ends = [(-0.5, n - 0.5) for n in size]
    corners = np.array([[i, j, k, 1] for i in ends[0] for j in ends[1] for k in ends[2]]).T
    placed = (to_slice @ corners)[:3]
    return placed.min(axis=1), placed.max(axis=1)


def _cuts_a_picture(to_slice: np.ndarray, size: tuple[int, int, int]) -> bool:
    """Whether a view meets a picture, which is one voxel thick, in a line and not in its plane."""
    directions = to_slice[:3, :3] / np.linalg.norm(to_slice[:3, :3], axis=0)
    in_plane = [axis for axis in range(3) if size[axis] > 1]
    return len(in_plane) == 2 and bool(np.abs(directions[2, in_plane]).max() > ALONG)


def _spacing(to_slice: np.ndarray, extent: np.ndarray) -> float:
    """Side of the picture's square pixels: that of the finest voxel side lying in the plane, within `MAX_SIDE`."""
    sides = np.linalg.norm(to_slice[:3, :3], axis=0)
    in_plane = np.linalg.norm(to_slice[:2, :3], axis=0) / sides > 0.5
    fine = sides[in_plane].min() if in_plane.any() else sides.min()
    return float(max(fine, extent[:2].max() / MAX_SIDE))


def _resample(volume: Any, to_ijk: np.ndarray, origin: np.ndarray, spacing: float, count: np.ndarray) -> np.ndarray:
    """Values ``[H, W]`` or ``[H, W, C]`` on the picture's grid, linear between voxels, as the view shows them."""
    axes = vtk.vtkMatrix4x4()
    axes.DeepCopy(to_ijk.ravel().tolist())
    transform = vtk.vtkTransform()
    transform.SetMatrix(axes)
    image = vtk.vtkImageData()
    image.ShallowCopy(volume.GetImageData())
    image.SetOrigin(0, 0, 0)
    image.SetSpacing(1, 1, 1)
    reslice = vtk.vtkImageReslice()
    reslice.SetInputData(image)
    reslice.SetResliceTransform(transform)
    reslice.SetOutputOrigin(float(origin[0]), float(origin[1]), 0)
    reslice.SetOutputSpacing(spacing, spacing, 1)
    reslice.SetOutputExtent(0, int(count[0]) - 1, 0, int(count[1]) - 1, 0, 0)
    reslice.SetInterpolationModeToLinear()
    reslice.SetBorder(True)
    reslice.SetBackgroundLevel(image.GetScalarRange()[0])
    reslice.Update()
    values = numpy_support.vtk_to_numpy(reslice.GetOutput().GetPointData().GetScalars())
    return (
        values.reshape(int(count[1]), int(count[0]), -1).squeeze(-1)[::-1]
        if values.ndim == 1
        else values.reshape(int(count[1]), int(count[0]), -1)[::-1]
    )


def _windowed(values: np.ndarray, display: Any) -> tuple[np.ndarray, tuple[float, float] | None]:
    """Display values 0 to 255, and centre and width of the window."""
    if values.ndim == 3:
        return np.clip(values[..., :3], 0, 255).astype(np.uint8), None
    values = values.astype(np.float64)
    if display is not None and hasattr(display, "GetWindow"):
        centre, width = float(display.GetLevel()), max(float(display.GetWindow()), 1e-6)
    else:
        centre, width = (values.min() + values.max()) / 2, max(float(np.ptp(values)), 1e-6)
    shown = np.clip((values - centre) / width + 0.5, 0, 1)
    if display is not None and "InvertedGrey" in (display.GetColorNodeID() or ""):
        shown = 1 - shown
    return np.round(shown * 255).astype(np.uint8), (centre, width)
