"""How far a slice lies from the plane it is called by, and whether its file says so."""

from __future__ import annotations

from pathlib import Path

import made_files
import nibabel as nib
import numpy as np
import pytest

from scripts.reading import read_case
from scripts.reading.orientation import Volume, off_axis_degrees

STRAIGHT = np.diag([-1.0, -1.0, 1.0, 1.0])


def turned(degrees: float) -> np.ndarray:
    """A volume's affine, turned about the left-right axis."""
    angle = np.radians(degrees)
    affine = np.eye(4)
    affine[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return affine @ np.diag([2.0, 3.0, 5.0, 1.0])


@pytest.mark.parametrize("degrees", [0, 20, 40])
def test_the_tilt_of_a_volumes_slices(degrees: float) -> None:
    volume = Volume((8, 8, 8), turned(degrees), lambda axis, index: np.zeros((1, 8, 8)))
    found = {plane: volume.describe(plane)["off_axis_degrees"] for plane in ("axial", "sagittal")}
    assert found == {"axial": pytest.approx(degrees, abs=0.06), "sagittal": 0.0}


def test_a_normal_between_the_axes_is_far_from_all() -> None:
    normal = np.array([0.62, -0.55, 0.56])
    row = np.cross(normal, [0, 0, 1])
    row /= np.linalg.norm(row)
    assert off_axis_degrees([*row, *np.cross(normal / np.linalg.norm(normal), row)]) > 50
    assert off_axis_degrees([1, 0, 0, 1, 0, 0]) == 90.0


def test_a_slanted_gantry_is_told_by_its_slices_not_by_their_stacking() -> None:
    affine = np.diag([1.0, 1.0, 5.0, 1.0])
    affine[1, 2] = 3.0  # each slice is shifted, none is tilted
    volume = Volume((8, 8, 8), affine, lambda axis, index: np.zeros((1, 8, 8)))
    assert volume.describe("axial")["off_axis_degrees"] == 0.0


def test_nifti_without_codes_says_no_plane(tmp_path: Path) -> None:
    """Only nibabel's own convention is left then: no plane, no side."""
    ramp = np.arange(20 * 24 * 18, dtype=np.int16).reshape(20, 24, 18)
    for name, code in (("says", 1), ("silent", 0)):
        image = nib.Nifti1Image(ramp, STRAIGHT)
        image.set_sform(STRAIGHT, code)
        image.set_qform(STRAIGHT, code)
        nib.save(image, tmp_path / f"{name}.nii")
    says, silent = (read_case(tmp_path / f"{name}.nii").meta for name in ("says", "silent"))
    assert says["orientation"]["known"] is True and not says["notes"]
    assert silent["orientation"]["known"] is False and "qform_code and sform_code are 0" in silent["notes"][0]


def test_nrrd_says_no_plane_without_a_space(tmp_path: Path) -> None:
    ramp = np.arange(20 * 24 * 18, dtype="<i2").tobytes()
    start = "NRRD0004\ntype: int16\ndimension: 3\nsizes: 20 24 18\nendian: little\nencoding: raw\n"
    space = "space: left-posterior-superior\nspace directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\n"
    (tmp_path / "silent.nrrd").write_bytes(f"{start}spacings: 1 1 1\n\n".encode() + ramp)
    (tmp_path / "says.nrrd").write_bytes(f"{start}{space}\n".encode() + ramp)
    silent, says = (read_case(tmp_path / f"{name}.nrrd").meta for name in ("silent", "says"))
    assert says["orientation"]["known"] is True and not says["notes"]
    assert silent["orientation"]["known"] is False and "names no space" in silent["notes"][0]


def test_analyze_and_dicom(tmp_path: Path) -> None:
    ramp = np.arange(20 * 24 * 18, dtype=np.int16).reshape(20, 24, 18)
    nib.save(nib.Spm99AnalyzeImage(ramp, np.diag([2.0, 2.0, 2.0, 1.0])), tmp_path / "a.img")
    (tmp_path / "a.mat").unlink(missing_ok=True)
    assert read_case(tmp_path / "a.img").meta["orientation"]["known"] is False
    file = made_files.save(
        tmp_path / "a.dcm", made_files.ct_slice(made_files.body(1)[0], orientation=made_files.SAGITTAL)
    )
    lies = read_case(file).meta["orientation"]
    assert (lies["plane"], lies["off_axis_degrees"], lies["known"]) == ("sagittal", 0.0, True)
