"""Affine of a NIfTI header: the one of two that is believed (nifti1.h), and what contradicts it.

The sform where it is coded and can be one, else the qform likewise, else none: then the voxel sizes make an affine of
no meaning for sides and planes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_SAME_TURN = 0.02
"""Difference of direction cosines within which two orientations are one."""
_SAME_SIZE = 0.05
"""Share by which voxel sizes may differ."""


def believed_affine(header: Any, shape: tuple[int, ...], notes: list[str]) -> tuple[np.ndarray, bool]:
    """(``[4, 4]`` voxel -> millimetres in R, A, S; whether the file says how it lies).

    Args:
        header: nibabel's, of NIfTI 1 or 2.
        shape: of the image.
        notes: learns what was believed where the header contradicts itself.
    """
    sform = _usable(header.get_sform(), shape) if int(header["sform_code"]) > 0 else None
    qform = _qform(header, shape)
    if int(header["sform_code"]) > 0 and sform is None:
        notes.append(
            "the sform is empty or impossible; " + ("the qform was believed" if qform is not None else "left out")
        )
    affine = sform if sform is not None else qform
    if affine is None:
        return np.asarray(header.get_base_affine(), float), False
    if sform is not None and qform is not None:
        notes += _differences(sform, qform, "sform and qform", "the sform")
    sizes = np.abs(np.asarray(header["pixdim"][1:4], float))
    norms = np.linalg.norm(affine[:3, :3], axis=0)
    long_axes = [a for a in range(min(3, len(shape))) if shape[a] > 1 and sizes[a] > 0]
    if affine is sform and any(abs(norms[a] / sizes[a] - 1) > _SAME_SIZE for a in long_axes):
        notes.append("voxel sizes in pixdim and sform differ; the sform was believed")
    return affine, _states_a_plane(affine, shape, int(header["dim"][0]), notes)


def _qform(header: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    if int(header["qform_code"]) <= 0:
        return None
    try:
        return _usable(header.get_qform(), shape)
    except ValueError:  # a quaternion longer than 1
        return None


def _usable(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """``affine`` if its directions are three; the one along an axis of one voxel may be missing, and is made up."""
    affine = np.array(affine, float)
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        return None
    norms = np.linalg.norm(affine[:3, :3], axis=0)
    missing = [axis for axis in range(3) if norms[axis] < 1e-9]
    if len(missing) == 1 and (missing[0] >= len(shape) or shape[missing[0]] == 1):
        others = [affine[:3, axis] for axis in range(3) if axis != missing[0]]
        normal = np.cross(*others)
        length = float(np.linalg.norm(normal))
        affine[:3, missing[0]] = normal / length if length > 0 else 0.0
        norms = np.linalg.norm(affine[:3, :3], axis=0)
    if norms.min() < 1e-9 or abs(np.linalg.det(affine[:3, :3] / norms)) < 1e-3:
        return None
    return affine


def _differences(first: np.ndarray, second: np.ndarray, which: str, believed: str) -> list[str]:
    sizes = [np.linalg.norm(m[:3, :3], axis=0) for m in (first, second)]
    turned = np.abs(first[:3, :3] / sizes[0] - second[:3, :3] / sizes[1]).max() > _SAME_TURN
    scaled = np.abs(sizes[0] / sizes[1] - 1).max() > _SAME_SIZE
    what = "directions" if turned else "voxel sizes"
    return [f"{which} give different {what}; {believed} was believed"] if turned or scaled else []


def _states_a_plane(affine: np.ndarray, shape: tuple[int, ...], axes: int, notes: list[str]) -> bool:
    """Whether to take the plane from the affine: a picture saved as NIfTI has one that tools make up."""
    flat = len(shape) < 3 or min(shape[:3]) == 1
    if not flat:
        return True
    made_up = np.allclose(np.abs(affine[:3, :3]), np.eye(3))
    if axes == 2 or made_up:
        notes.append("a 2-D image: which plane it shows is not known")
        return False
    return True
