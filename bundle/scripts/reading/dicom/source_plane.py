"""Source image of a plane within a series; a report that points to another one is worse than none.

A viewer can move a volume away from where its images say they lie. So the plane comes in the volume's own coordinates,
with the grid of the volume, and is refused where grid and images disagree.

Shape legend: N images, M layers of the grid; patient coordinates are L, P, S in millimetres.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom

from scripts.errors import InputError
from scripts.reading.dicom.file import quiet_pydicom

_TAGS = ["ImageOrientationPatient", "ImagePositionPatient", "NumberOfFrames", "SliceThickness"]
ALONG = 0.999
"""Cosine above which two directions count as one (2.5 degrees)."""
SAME_MM = 1e-3
UNKNOWN_MM = 1.0
"""Thickness of a slice that does not tell its own."""


@dataclass(frozen=True)
class _Image:
    """Where one file's image lies: ``position`` ``[3]``, ``axes`` ``[2, 3]`` (along a row, down a column)."""

    file: str
    position: np.ndarray
    axes: np.ndarray
    thickness: float


def images_in(files: Sequence[str], plane: Mapping[str, Any]) -> list[str]:
    """The files whose image lies in a plane; all of them where the plane runs across the images.

    Args:
        files: DICOM files.
        plane: ``point`` and ``normal`` in patient coordinates; with ``grid`` (4 x 4, voxel index to patient) and
            ``layers`` (how many voxels along the grid's third axis) the volume that the files were loaded as.

    Raises:
        InputError: no image lies within half a slice of the plane, or the volume does not lie where its images do.
    """
    images = _images(files)
    if images is None:
        return list(files)
    normal = np.asarray(plane["normal"], float)
    unit = normal / np.linalg.norm(normal)
    if any(abs(unit @ np.cross(*image.axes)) < ALONG for image in images):
        return list(files)
    away = np.array([unit @ image.position for image in images]) - unit @ np.asarray(plane["point"], float)
    nearest = np.abs(away).min()
    if nearest > _reach(images, away) + SAME_MM:
        raise InputError(
            f"the nearest image lies {nearest:.1f} mm from the slice that was captioned: the volume was moved "
            "away from its images, or some are missing; load it again"
        )
    if "grid" in plane:
        _refuse_moved(images, away, unit, plane)
    return [image.file for image, distance in zip(images, np.abs(away), strict=True) if distance <= nearest + SAME_MM]


def _images(files: Sequence[str]) -> list[_Image] | None:
    """None where a file is no single image with a position: whoever writes the report says what is wrong."""
    with quiet_pydicom():
        try:
            return [_image(file) for file in files]
        except Exception:  # pydicom raises a dozen kinds on damaged bytes
            return None


def _image(file: str) -> _Image:
    header = pydicom.dcmread(file, specific_tags=_TAGS, stop_before_pixels=True)
    if int(header.get("NumberOfFrames") or 1) > 1:
        raise ValueError("its frames have positions of their own")
    position = np.asarray(header.ImagePositionPatient, float).reshape(3)
    axes = np.asarray(header.ImageOrientationPatient, float).reshape(2, 3)
    return _Image(file, position, axes, float(header.get("SliceThickness") or UNKNOWN_MM))


def _distinct(places: np.ndarray) -> np.ndarray:
    """Sorted, each once."""
    places = np.sort(places)
    return places[np.diff(places, prepend=-np.inf) > SAME_MM]


def _reach(images: Sequence[_Image], away: np.ndarray) -> float:
    """Half the usual distance between slices, or half the thickness of the only one."""
    gaps = np.diff(_distinct(away))
    return float(np.median(gaps) if len(gaps) else max(image.thickness for image in images)) / 2


def _refuse_moved(images: Sequence[_Image], away: np.ndarray, unit: np.ndarray, plane: Mapping[str, Any]) -> None:
    """The grid's rows and columns must be the images', and the plane as many layers up as images up."""
    grid = np.asarray(plane["grid"], float)
    directions = grid[:3, :2] / np.linalg.norm(grid[:3, :2], axis=0)
    turned = any((np.sum(directions.T * image.axes, axis=1) < ALONG).any() for image in images)
    layers = (grid[:3, 3] + np.outer(np.arange(int(plane["layers"])), grid[:3, 2])) @ unit
    layers = np.sort(layers) - unit @ np.asarray(plane["point"], float)
    places = _distinct(away)
    other = len(places) == len(layers) and abs(places[np.abs(layers).argmin()]) > np.abs(places).min() + SAME_MM
    if turned or other:
        raise InputError(
            "the volume does not lie where its images do: it was moved or turned since it was loaded, or its slices "
            "are not evenly spaced; load it again with the DICOM module"
        )
