"""Sample images for Slicer's Sample Data module, computed here: nothing is downloaded, and nobody's body is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

CATEGORY = "Image Captioning"
SHAPE = (40, 128, 128)
VOXEL = (2.0, 2.0, 5.0)
"""Millimetres along columns, rows, slices."""


def body(*, lesion: bool = True) -> np.ndarray:
    """HU ``[40, 128, 128]`` of a made chest: soft tissue, lungs, heart, spine, and a ball in the left lung."""
    z, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]].astype(np.float32)
    hu = np.full(SHAPE, -1000, np.float32)
    hu[_ellipsoid(x, y, None, (64, 66), (54, 40))] = 40
    for side in (-1, 1):
        hu[_ellipsoid(x, y, z, (64 + side * 24, 62, 20), (17, 26, 22))] = -820
    hu[_ellipsoid(x, y, z, (72, 58, 16), (12, 11, 9))] = 55
    hu[_ellipsoid(x, y, None, (64, 96), (9, 7))] = 500
    if lesion:
        hu[_ellipsoid(x, y, z, (92, 54, 24), (6, 6, 2.4))] = 45
    noise = np.random.default_rng(0).normal(0, 8, SHAPE)
    return (hu + noise).astype(np.int16)


def uptake() -> np.ndarray:
    """SUV-like ``[40, 128, 128]`` that belongs to :func:`body`: the heart and the ball take up tracer."""
    z, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]].astype(np.float32)
    suv = np.where(_ellipsoid(x, y, None, (64, 66), (54, 40)), 0.8, 0.02)
    suv[_ellipsoid(x, y, z, (72, 58, 16), (12, 11, 9))] = 3.5
    suv[_ellipsoid(x, y, z, (92, 54, 24), (6, 6, 2.4))] = 7.0
    return suv.astype(np.float32)


def film() -> np.ndarray:
    """A picture ``[128, 128, 3]`` like a chest film: the sum of :func:`body` along the rows, head up."""
    through = np.exp(-np.clip(body(lesion=True) + 1000, 0, None).sum(1) / 60000)
    grey = 255 * (1 - (through - through.min()) / np.ptp(through))
    tall = np.repeat(grey[::-1], 3, 0)[:120]
    return np.repeat(np.pad(tall, ((4, 4), (0, 0)))[..., None], 3, -1).astype(np.uint8)


def frames(count: int = 8) -> np.ndarray:
    """``[T, 10, 64, 64]``: a ring that opens and closes, like a heart's short axis over time."""
    z, y, x = np.mgrid[:10, :64, :64].astype(np.float32)
    distance = np.hypot(x - 32, y - 32) + 0 * z
    grain = np.random.default_rng(0).normal(0, 8, distance.shape)  # as in a scan: even regions alone would be labels
    made = []
    for number in range(count):
        hole = 9 + 4 * np.cos(2 * np.pi * number / count)
        ring = np.where(distance < hole, 600, np.where(distance < 20, 220, 60))
        made.append(ring + grain)
    return np.stack(made).astype(np.int16)


def load_ct(mrml: Any) -> list[Any]:
    """The made chest as a CT volume."""
    return [_volume(mrml, "MadeChestCT", body(), VOXEL, (40, 400))]


def load_pet_ct(mrml: Any) -> list[Any]:
    """CT and PET of the made chest, in one place."""
    return [
        _volume(mrml, "MadeChestCT", body(), VOXEL, (40, 400)),
        _volume(mrml, "MadeChestPET", uptake(), VOXEL, (4, 8), "vtkMRMLColorTableNodeInvertedGrey"),
    ]


def load_film(mrml: Any) -> list[Any]:
    """The made chest film as a colour picture."""
    return [_volume(mrml, "MadeChestFilm", film()[None], (1.0, 1.0, 1.0), None)]


def load_sequence(mrml: Any) -> list[Any]:
    """The made heart as a sequence of eight frames, with the volume that shows the first."""
    sequence = mrml.AddNewNodeByClass("vtkMRMLSequenceNode", "MadeHeart")
    sequence.SetIndexName("time")
    sequence.SetIndexUnit("ms")
    aside = slicer.vtkMRMLScene()
    for number, frame in enumerate(frames()):
        sequence.SetDataNodeAtValue(_volume(aside, "MadeHeart", frame, (2.0, 2.0, 8.0), (300, 700)), str(100 * number))
    browser = mrml.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "MadeHeart browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    logic = slicer.vtkSlicerSequencesLogic()
    logic.SetMRMLScene(mrml)
    logic.UpdateProxyNodesFromSequences(browser)
    return [browser.GetProxyNode(sequence)]


SAMPLES: dict[str, Callable[[Any], list[Any]]] = {
    "MadeChestCT": load_ct,
    "MadeChestPETCT": load_pet_ct,
    "MadeChestFilm": load_film,
    "MadeHeart": load_sequence,
}


def register(sample_data: Any, thumbnails: str, show: Callable[[list[Any]], None]) -> None:
    """List the samples in the Sample Data module.

    Args:
        sample_data: the module ``SampleData``.
        thumbnails: folder of their pictures.
        show: puts loaded volumes on screen.
    """
    for name, load in SAMPLES.items():

        def made(_source: Any, load: Callable[[Any], list[Any]] = load) -> list[Any]:
            volumes = load(slicer.mrmlScene)
            show(volumes)
            return volumes

        sample_data.SampleDataLogic.registerCustomSampleDataSource(
            category=CATEGORY,
            sampleName=name,
            uris="",
            fileNames=None,
            nodeNames=name,
            thumbnailFileName=f"{thumbnails}/{name}.png",
            customDownloader=made,
        )


def _ellipsoid(x: np.ndarray, y: np.ndarray, z: np.ndarray | None, centre: tuple, radii: tuple) -> np.ndarray:
    places = (x, y) if z is None else (x, y, z)
    parts = [((place - middle) / radius) ** 2 for place, middle, radius in zip(places, centre, radii)]
    return sum(parts) < 1


def _volume(
    mrml: Any, name: str, values: np.ndarray, voxel: tuple, window: tuple[float, float] | None, colours: str = ""
) -> Any:
    """A volume of ``[Z, Y, X]`` values, or a picture ``[1, Y, X, 3]``: rows to the back, columns to the left."""
    kind = "vtkMRMLScalarVolumeNode" if values.ndim == 3 else "vtkMRMLVectorVolumeNode"
    node = mrml.AddNewNodeByClass(kind, name)
    image = vtk.vtkImageData()
    image.SetDimensions(*values.shape[2::-1])
    flat = np.ascontiguousarray(values).reshape(values.shape[0] * values.shape[1] * values.shape[2], -1)
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(flat, deep=True))
    node.SetAndObserveImageData(image)
    placed = vtk.vtkMatrix4x4()
    half = [(size - 1) / 2 * side for size, side in zip(values.shape[2::-1], voxel)]
    for axis, sign in enumerate((-1, -1, 1)):
        placed.SetElement(axis, axis, sign * voxel[axis])
        placed.SetElement(axis, 3, -sign * half[axis])
    node.SetIJKToRASMatrix(placed)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    if window is not None and display is not None:
        display.SetAutoWindowLevel(False)
        display.SetLevel(window[0])
        display.SetWindow(window[1])
        if colours and mrml.GetNodeByID(colours) is not None:
            display.SetAndObserveColorNodeID(colours)
    return node
