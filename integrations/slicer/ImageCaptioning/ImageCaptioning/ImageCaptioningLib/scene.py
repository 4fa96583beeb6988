"""Captions and overlays as nodes of the MRML scene: they are saved with it, and refer to their volume."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from .errors import CaptioningError
from .slices import Picture

VOLUME_ROLE = "captionedVolume"
PREFIX = "ImageCaptioning."
SAME_MM = 0.01
CLEAR_BELOW = 15
"""Percent of an overlay's range, from the picture's mean to its largest value, below which it is not drawn."""


def save_caption(scene: Any, volume: Any, picture: Picture, text: str, details: dict[str, Any]) -> Any:
    """The caption of a slice as a ``vtkMRMLTextNode`` that refers to the volume; the slice's earlier one is replaced.

    Args:
        scene: of the volume.
        volume: what was captioned.
        picture: which slice of it.
        text: as the user left it.
        details: more attributes, such as ``ModelVersion``; values of None are left out.

    Raises:
        CaptioningError: the text is empty.
    """
    text = " ".join(text.split())
    if not text:
        raise CaptioningError("the caption is empty: write one, or do not save")
    node = find_caption(scene, volume, picture)
    if node is None:
        name = f"{volume.GetName()} caption {picture.orientation} {picture.offset:.1f}"
        node = scene.AddNewNodeByClass("vtkMRMLTextNode", name)
        node.AddNodeReferenceRole(VOLUME_ROLE)
        node.SetNodeReferenceID(VOLUME_ROLE, volume.GetID())
    node.SetText(text)
    window = None if picture.window is None else "/".join(f"{value:g}" for value in picture.window)
    given = {"Orientation": picture.orientation, "Offset": repr(picture.offset), "Window": window,
             "Plane": picture.plane, "Slice": picture.index, **details}  # fmt: skip
    for name, value in given.items():
        if value is not None:
            node.SetAttribute(PREFIX + name, str(value))
    _beside(scene, node, volume)
    return node


def captions_of(scene: Any, volume: Any) -> list[Any]:
    """Text nodes that caption slices of a volume."""
    nodes = [
        scene.GetNthNodeByClass(i, "vtkMRMLTextNode") for i in range(scene.GetNumberOfNodesByClass("vtkMRMLTextNode"))
    ]
    return [node for node in nodes if volume and node.GetNodeReferenceID(VOLUME_ROLE) == volume.GetID()]


def find_caption(scene: Any, volume: Any, picture: Picture) -> Any | None:
    """The caption of that very slice, or None."""
    for node in captions_of(scene, volume):
        offset = node.GetAttribute(PREFIX + "Offset")
        same_view = node.GetAttribute(PREFIX + "Orientation") == picture.orientation
        if same_view and offset is not None and abs(float(offset) - picture.offset) < SAME_MM:
            return node
    return None


def show_overlay(scene: Any, volume: Any, picture: Picture, heat: np.ndarray) -> Any:
    """``heat`` ``[H, W]`` in [0, 1] as a one-slice volume in the slice's place; one overlay a volume."""
    name = f"{volume.GetName()} caption overlay"
    node = volume.GetNodeReference(PREFIX + "overlay")
    if node is None:
        node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
        volume.AddNodeReferenceRole(PREFIX + "overlay")
        volume.SetNodeReferenceID(PREFIX + "overlay", node.GetID())
    values = np.round(np.asarray(heat) * 100).astype(np.uint8)
    image = vtk.vtkImageData()
    image.SetDimensions(values.shape[1], values.shape[0], 1)
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(np.ascontiguousarray(values).ravel(), deep=True))
    to_ras = picture.to_ras.copy()
    to_ras[:3, 2] = np.cross(to_ras[:3, 0], to_ras[:3, 1]) / np.linalg.norm(to_ras[:3, 0])
    placed = vtk.vtkMatrix4x4()
    placed.DeepCopy(to_ras.ravel().tolist())
    node.SetAndObserveImageData(image)
    node.SetIJKToRASMatrix(placed)
    node.SetAttribute(PREFIX + "Overlay", "1")
    _display(scene, node)
    return node


def _display(scene: Any, node: Any) -> None:
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    if display is None:
        return
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(0, 100)
    display.SetThreshold(CLEAR_BELOW, 255)  # where a word hardly looks, the image stays clear
    display.SetApplyThreshold(True)
    colours = "vtkMRMLColorTableNodeFileInferno.txt"
    if scene.GetNodeByID(colours) is not None:
        display.SetAndObserveColorNodeID(colours)


def _beside(scene: Any, node: Any, volume: Any) -> None:
    """Put a node under the volume's study in the subject hierarchy."""
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    if tree is None:
        return
    of_volume = tree.GetItemByDataNode(volume)
    parent = tree.GetItemParent(of_volume) if of_volume else tree.GetSceneItemID()
    item = tree.GetItemByDataNode(node)
    if item:
        tree.SetItemParent(item, parent)
    else:
        tree.CreateItem(parent, node)
