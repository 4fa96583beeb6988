"""A picture restricted to one segment of a segmentation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from ..errors import CaptioningError
from ..words import _
from .slices import Picture, matrix


def inside_segment(picture: Picture, segmentation: Any, segment_id: str) -> Picture:
    """The picture with all that lies outside a segment as dark as its darkest pixel.

    Args:
        picture: of a slice.
        segmentation: ``vtkMRMLSegmentationNode``.
        segment_id: which of its segments.

    Raises:
        CaptioningError: the segment is gone, or does not meet the slice.
    """
    inside = on_pixels(picture, segmentation, segment_id)
    name = segmentation.GetSegmentation().GetSegment(segment_id).GetName()
    if not inside.any():
        raise CaptioningError(
            _("the segment {name} does not meet this slice: move the slice, or caption all of it").format(name=name)
        )
    outside = ~inside
    pixels = picture.pixels.copy()
    pixels[outside] = picture.pixels.min()
    values = picture.values
    if values is not None:
        values = values.copy()
        values[outside] = picture.values.min()
    return replace(picture, pixels=pixels, values=values, inside=name)


def on_pixels(picture: Picture, segmentation: Any, segment_id: str) -> np.ndarray:
    """Which pixels ``[H, W]`` of a picture have their centre in a segment, the nearest voxel of its mask deciding."""
    if segmentation.GetSegmentation().GetSegment(segment_id) is None:
        raise CaptioningError(_("the segment is gone: choose another, or none"))
    mask = slicer.vtkOrientedImageData()
    if not segmentation.GetBinaryLabelmapRepresentation(segment_id, mask):
        raise CaptioningError(_("the segment has no mask: edit or convert it in the Segmentations module first"))
    size = mask.GetDimensions()
    if 0 in size:
        return np.zeros(picture.pixels.shape[:2], bool)
    grid = vtk.vtkMatrix4x4()
    mask.GetImageToWorldMatrix(grid)
    to_world = _to_world(segmentation) @ matrix(grid)
    rows, columns = np.mgrid[: picture.pixels.shape[0], : picture.pixels.shape[1]]
    points = np.stack([columns, rows, np.zeros_like(rows), np.ones_like(rows)], -1) @ picture.to_ras.T
    voxels = np.rint(points @ np.linalg.inv(to_world).T)[..., :3].astype(int)
    first = np.array(mask.GetExtent()[::2])
    voxels -= first
    known = ((voxels >= 0) & (voxels < np.array(size))).all(-1)
    values = numpy_support.vtk_to_numpy(mask.GetPointData().GetScalars()).reshape(size[::-1])
    i, j, k = np.where(known[..., None], voxels, 0).transpose(2, 0, 1)
    return known & (values[k, j, i] != 0)


def _to_world(node: Any) -> np.ndarray:
    parent = node.GetParentTransformNode()
    if parent is None:
        return np.eye(4)
    if not parent.IsTransformToWorldLinear():
        raise CaptioningError(_("the segmentation is under a transform that bends it: harden the transform first"))
    world = vtk.vtkMatrix4x4()
    parent.GetMatrixTransformToWorld(world)
    return matrix(world)
