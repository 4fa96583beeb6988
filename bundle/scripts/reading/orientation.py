"""Orientation: voxel axes to the view that a radiologist expects.

Patient axes are DICOM's L (to the patient's left), P (to the back), S (to the head). Shown upright:

========  ==================  =====================  =========================
plane     rows, top to bottom  columns, left to right  slice index grows towards
========  ==================  =====================  =========================
axial     P                   L                      S (head)
coronal   S downwards (I)     L                      P (back)
sagittal  S downwards (I)     P                      L (left)
========  ==================  =====================  =========================

so the patient's right is on the image's left in axial and coronal, and the face looks left in sagittal. Oblique
volumes are shown along their own voxel axes, each taken for the patient axis it is nearest to; ``off_axis_degrees``
says how far the slice's normal is from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from nibabel.orientations import io_orientation

from scripts.errors import InputError

PLANES = {"sagittal": 0, "coronal": 1, "axial": 2}
"""Patient axis (L, P, S) that each plane's slices are stacked along."""
_SHOWN = {"axial": ((1, 1), (0, 1)), "coronal": ((2, -1), (0, 1)), "sagittal": ((2, -1), (1, 1))}
_LETTERS = (("L", "R"), ("P", "A"), ("S", "I"))
THICK = 1.5
"""Slices this many times further apart than the pixels in them are not reformatted unless a plane is asked for."""


@dataclass
class Volume:
    """A 3-D image whose slices are fetched when asked for.

    Attributes:
        shape: voxels along the three voxel axes.
        affine: ``[4, 4]``, voxel index -> millimetres in L, P, S.
        fetch: ``fetch(axis, index)`` -> ``[C, A, B]``, the slice across voxel axis ``axis``; A and B are the other two
            voxel axes in ascending order.
        as_stored: show slices across the third voxel axis as the file has them (rows along the second axis, columns
            along the first), as viewers do with one DICOM file, instead of turning them to the table above.
        known: whether the file says how its voxels lie in the patient; else the axes of ``affine`` are a convention.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray
    fetch: Callable[[int, int], np.ndarray]
    as_stored: bool = False
    known: bool = True

    def __post_init__(self) -> None:
        axes = io_orientation(self.affine)
        taken = [int(a) for a in axes[:, 0] if np.isfinite(a)]
        spare = [a for a in range(3) if a not in taken]
        self._patient = [int(a) if np.isfinite(a) else spare.pop(0) for a in axes[:, 0]]
        self._sign = [-1 if s < 0 else 1 for s in axes[:, 1]]
        norms = np.linalg.norm(self.affine[:3, :3], axis=0)
        self.spacing = np.where(norms > 0, norms, 1.0)

    def voxel_axis(self, patient_axis: int) -> int:
        """The voxel axis that runs (most nearly) along a patient axis."""
        return self._patient.index(patient_axis)

    def natural_plane(self) -> str:
        """The plane to show when none is asked for: the one acquired where slices are thick or few, else axial."""
        if min(self.shape) == 1:
            axis = int(np.argmin(self.shape))
        else:
            axis = int(np.argmax(self.spacing))
            others = [self.spacing[i] for i in range(3) if i != axis]
            if self.spacing[axis] < THICK * max(others):
                return "axial"
        return next(name for name, patient in PLANES.items() if patient == self._patient[axis])

    def count(self, plane: str) -> int:
        """Number of slices in ``plane``."""
        return self.shape[self.voxel_axis(PLANES[plane])]

    def stored_at(self, plane: str, index: int) -> tuple[int, int]:
        """(voxel axis, index along it) of slice ``index`` of ``plane``."""
        axis = self.voxel_axis(PLANES[plane])
        return axis, index if self._sign[axis] > 0 else self.shape[axis] - 1 - index

    def slice(self, plane: str, index: int) -> np.ndarray:
        """Slice ``index`` of ``plane``, upright, ``[C, H, W]``."""
        axis, stored = self.stored_at(plane, index)
        image = self.fetch(axis, stored)
        if self.as_stored and axis == 2:
            return image.transpose(0, 2, 1)
        rest = [i for i in range(3) if i != axis]
        (row, row_sign), (_, column_sign) = _SHOWN[plane]
        if self._patient[rest[0]] != row:
            image = image.transpose(0, 2, 1)
            rest.reverse()
        row_step = self._sign[rest[0]] * row_sign
        column_step = self._sign[rest[1]] * column_sign
        return image[:, ::row_step, ::column_step]

    def pixel_spacing(self, plane: str) -> list[float]:
        """Millimetres between rows and between columns of a slice in ``plane``."""
        (row, _), (column, _) = _SHOWN[plane]
        if self.as_stored and self.voxel_axis(PLANES[plane]) == 2:
            return [round(float(self.spacing[a]), 6) for a in (1, 0)]
        return [round(float(self.spacing[self.voxel_axis(a)]), 6) for a in (row, column)]

    def describe(self, plane: str) -> dict[str, object]:
        """What `CaseImage.meta` records under ``orientation``."""
        (row, row_sign), (column, column_sign) = _SHOWN[plane]
        letters = [_LETTERS[p][0 if s > 0 else 1] for p, s in zip(self._patient, self._sign, strict=True)]
        kept = self.as_stored and self.voxel_axis(PLANES[plane]) == 2
        down, right = _LETTERS[row][0 if row_sign > 0 else 1], _LETTERS[column][0 if column_sign > 0 else 1]
        return {
            "plane": plane, "rows_towards": letters[1] if kept else down,
            "columns_towards": letters[0] if kept else right,
            "voxel_axes_towards": "".join(letters), "as_stored": kept, "slices": self.count(plane),
            "off_axis_degrees": self._off_axis(plane), "known": self.known,
        }  # fmt: skip

    def _off_axis(self, plane: str) -> float:
        axis = self.voxel_axis(PLANES[plane])
        first, second = (self.affine[:3, i] / self.spacing[i] for i in range(3) if i != axis)
        return off_axis_degrees([*first.tolist(), *second.tolist()])


def resolve_plane(volume: Volume, plane: str, path: str) -> str:
    """``plane`` as given, or the volume's natural one for "auto"."""
    word = str(plane).strip().lower()
    if word == "auto":
        return volume.natural_plane()
    if word not in PLANES:
        raise InputError(f"{path}: plane {plane!r} is not known; give 'axial', 'coronal', 'sagittal' or 'auto'")
    return word


def plane_of(orientation: list[float]) -> str:
    """The plane nearest to a DICOM ImageOrientationPatient (six cosines)."""
    normal = _normal(orientation)
    return next(name for name, axis in PLANES.items() if axis == normal.index(max(normal)))


def off_axis_degrees(orientation: list[float]) -> float:
    """Angle between the normal of a slice (its six cosines) and the patient axis that it is nearest to; at most 54.7.

    90 where the cosines span no plane.
    """
    normal = _normal(orientation)
    length = math.hypot(*normal)
    return round(math.degrees(math.acos(min(1.0, max(normal) / length))), 1) if length > 1e-6 else 90.0


def _normal(orientation: list[float]) -> list[float]:
    """Sizes of the normal's parts along L, P and S."""
    r, c = orientation[:3], orientation[3:]  # plain arithmetic: this runs for every file read
    return [abs(r[1] * c[2] - r[2] * c[1]), abs(r[2] * c[0] - r[0] * c[2]), abs(r[0] * c[1] - r[1] * c[0])]


def letters_of(cosines: list[float]) -> str:
    """The patient side that a direction points to most: "L", "R", "P", "A", "S" or "I"."""
    sizes = [abs(c) for c in cosines]
    axis = sizes.index(max(sizes))
    return _LETTERS[axis][0 if cosines[axis] > 0 else 1]
