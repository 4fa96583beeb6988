"""Real MRML scenes without Slicer's window, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk


class Scene:
    """A scene with two slice views, as Slicer's has three."""

    def __init__(self) -> None:
        self.mrml = slicer.vtkMRMLScene()
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.mrml)
        self.volumes = slicer.vtkSlicerVolumesLogic()
        self.volumes.SetMRMLScene(self.mrml)
        self.sequences = slicer.vtkSlicerSequencesLogic()
        self.sequences.SetMRMLScene(self.mrml)  # makes the scene know nodes of sequences
        slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.mrml)
        self.views = {}
        for name in ("Red", "Green"):
            self.views[name] = self.mrml.AddNewNodeByClass("vtkMRMLSliceNode", name)
            self.views[name].SetLayoutName(name)
            self.views[name].SetSingletonTag(name)  # a view outlives its scene's images
            self.mrml.AddNewNodeByClass("vtkMRMLSliceCompositeNode", name).SetSingletonTag(name)
        self.view = self.views["Red"]

    def load(self, path: Path, *, window: tuple[float, float] = (40, 400)) -> Any:
        """A volume from a file, or from the first file of a DICOM series, at a window of (centre, width)."""
        files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
        volume = self.volumes.AddArchetypeVolume(str(files[0]), path.name, 0)
        display = volume.GetDisplayNode()
        display.SetAutoWindowLevel(False)
        display.SetLevel(window[0])
        display.SetWindow(window[1])
        return volume

    def look(self, orientation: str, at: tuple[float, float, float]) -> Any:
        """Turn the view and move it through a point in RAS; the slice node."""
        self.view.SetOrientation(orientation)
        self.view.JumpSliceByOffsetting(*at)
        return self.view


def voxel_to_ras(volume: Any, index: tuple[float, float, float]) -> tuple[float, float, float]:
    """World position of a voxel (i, j, k)."""
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return tuple(matrix.MultiplyPoint((*index, 1))[:3])


def windowed(values: np.ndarray, centre: float = 40, width: float = 400) -> np.ndarray:
    """Display values of physical ones, the definition of a linear window."""
    return np.round(np.clip((values - (centre - width / 2)) / width, 0, 1) * 255).astype(np.uint8)
