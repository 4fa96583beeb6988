"""Captions and overlays as nodes of the MRML scene: they are saved with it, and refer to their volume."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from .errors import CaptioningError
from .images.sequences import show_frame
from .images.slices import Picture
from .words import _

VOLUME_ROLE = "captionedVolume"
PREFIX = "ImageCaptioning."
SAME_MM = 0.01
SAME_TURN = 1e-4
"""Difference of the normals' components up to which two planes have one direction."""
CLEAR_BELOW = 15
"""Percent of an overlay's range, from the picture's mean to its largest value, below which it is not drawn."""


def save_caption(scene: Any, volume: Any, picture: Picture, text: str, details: dict[str, Any]) -> Any:
    """The caption of a slice as a ``vtkMRMLTextNode`` that refers to the volume; the slice's earlier one is replaced.

    Args:
        scene: of the volume.
        volume: what was captioned.
        picture: which slice of it.
        text: as the user left it.
        details: more attributes, such as ``ModelVersion``; one of None is left out.

    Raises:
        CaptioningError: the text is empty.
    """
    text = " ".join(text.split())
    if not text:
        raise CaptioningError(_("the caption is empty: write one, or do not save"))
    node = find_caption(scene, volume, picture)
    if node is None:
        name = f"{volume.GetName()} caption {picture.orientation} {picture.offset:.1f}"
        node = scene.AddNewNodeByClass("vtkMRMLTextNode", name)
        node.AddNodeReferenceRole(VOLUME_ROLE)
        node.SetNodeReferenceID(VOLUME_ROLE, volume.GetID())
    node.SetText(text)
    given = {"Orientation": picture.orientation, "Offset": repr(picture.offset), "Plane": picture.plane,
             "Slice": picture.index, "Frame": picture.frame, "Inside": picture.inside,
             "SliceToRAS": " ".join(repr(float(value)) for value in picture.cut.ravel()), **details}  # fmt: skip
    for name, value in given.items():
        node.SetAttribute(PREFIX + name, None if value is None else str(value))
    _beside(scene, node, volume)
    return node


def captions_of(scene: Any, volume: Any) -> list[Any]:
    """Text nodes that caption slices of a volume."""
    return [node for node in _texts(scene) if volume and node.GetNodeReferenceID(VOLUME_ROLE) == volume.GetID()]


def find_caption(scene: Any, volume: Any, picture: Picture) -> Any | None:
    """The caption of that very slice, frame and segment, or None."""
    wanted = {"Frame": picture.frame, "Inside": picture.inside}
    for node in captions_of(scene, volume):
        same = all(told(node, name) == ("" if value is None else str(value)) for name, value in wanted.items())
        if same and _same_plane(cut_of(node), picture.cut):
            return node
    return None


def told(node: Any, name: str) -> str:
    """An attribute of a caption, such as ``Status``; "" where it has none."""
    return node.GetAttribute(PREFIX + name) or ""


def cut_of(node: Any) -> np.ndarray | None:
    """SliceToRAS ``[4, 4]`` of the view that a caption describes; None where it does not say."""
    try:
        return np.array([float(value) for value in told(node, "SliceToRAS").split()]).reshape(4, 4)
    except ValueError:
        return None


def volume_of(node: Any) -> Any | None:
    """The volume that a caption describes; None where it was removed."""
    return node.GetNodeReference(VOLUME_ROLE)


def least_certain(scene: Any) -> Any | None:
    """Among captions that nobody accepted yet the one whose model is least certain; None where there is none."""
    waiting = [node for node in _texts(scene) if told(node, "Status") == "draft" and volume_of(node) is not None]

    def certainty(node: Any) -> float:
        return float(told(node, "LikelyRight") or 1)

    return min(waiting, key=certainty, default=None)


def look_at(node: Any, slice_node: Any) -> None:
    """Turn a view to the slice that a caption describes, and its sequence to the frame."""
    cut, frame, volume = cut_of(node), told(node, "Frame"), volume_of(node)
    if volume is not None and frame:
        show_frame(volume, int(frame))
    if cut is not None:
        slice_node.GetSliceToRAS().DeepCopy(cut.ravel().tolist())
        slice_node.UpdateMatrices()


def _same_plane(one: np.ndarray | None, other: np.ndarray) -> bool:
    if one is None:
        return False
    normal = other[:3, 2]
    same_turn = np.abs(one[:3, :3] - other[:3, :3]).max() < SAME_TURN
    return bool(same_turn and abs(normal @ (one[:3, 3] - other[:3, 3])) < SAME_MM)


def show_overlay(scene: Any, volume: Any, picture: Picture, heat: np.ndarray) -> Any:
    """``heat`` ``[H, W]`` in [0, 1] as a one-slice volume in the slice's place; one overlay a volume."""
    node = _beside_volume(scene, volume, "overlay", "vtkMRMLScalarVolumeNode")
    _fill(node, np.round(np.asarray(heat) * 100).astype(np.uint8), picture)
    _display(scene, node)
    return node


def show_mask(scene: Any, volume: Any, picture: Picture, mask: np.ndarray) -> Any:
    """``mask`` ``[H, W]`` as a one-slice label map in the slice's place; one mask a volume."""
    node = _beside_volume(scene, volume, "mask", "vtkMRMLLabelMapVolumeNode")
    _fill(node, np.asarray(mask).astype(np.uint8), picture)
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    return node


def _beside_volume(scene: Any, volume: Any, role: str, kind: str) -> Any:
    """The node of a kind that a volume refers to by a role; made where there is none."""
    node = volume.GetNodeReference(PREFIX + role)
    if node is None:
        node = scene.AddNewNodeByClass(kind, f"{volume.GetName()} caption {role}")
        node.SetAttribute(PREFIX + "Overlay", "1")
        node.SetHideFromEditors(True)  # no image to choose
        volume.AddNodeReferenceRole(PREFIX + role)
        volume.SetNodeReferenceID(PREFIX + role, node.GetID())
    return node


def _fill(node: Any, values: np.ndarray, picture: Picture) -> None:
    """Put ``[H, W]`` where the picture's pixels are."""
    image = vtk.vtkImageData()
    image.SetDimensions(values.shape[1], values.shape[0], 1)
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(np.ascontiguousarray(values).ravel(), deep=True))
    to_ras = picture.to_ras.copy()
    to_ras[:3, 2] = np.cross(to_ras[:3, 0], to_ras[:3, 1]) / np.linalg.norm(to_ras[:3, 0])
    placed = vtk.vtkMatrix4x4()
    placed.DeepCopy(to_ras.ravel().tolist())
    node.SetAndObserveImageData(image)
    node.SetIJKToRASMatrix(placed)


def is_overlay(node: Any) -> bool:
    """Whether a volume is a map or a mask that was drawn here."""
    return bool(told(node, "Overlay"))


def _texts(scene: Any) -> list[Any]:
    count = scene.GetNumberOfNodesByClass("vtkMRMLTextNode")
    return [scene.GetNthNodeByClass(place, "vtkMRMLTextNode") for place in range(count)]


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
