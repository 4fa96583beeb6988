"""NIfTI, Analyze, NRRD, MetaImage against nibabel and ITK."""

from __future__ import annotations

from pathlib import Path

import made_files
import nibabel as nib
import numpy as np
import pytest

from scripts.errors import InputError
from scripts.reading import read_case

RAMP = np.arange(20 * 24 * 28, dtype=np.int16).reshape(20, 24, 28)


def _upright_axial(image: nib.spatialimages.SpatialImage, index: int) -> np.ndarray:
    """By nibabel alone: to RAS, slice, then rows to the back and columns to the left."""
    data = np.asarray(nib.as_closest_canonical(image).dataobj, dtype=np.float32)
    return data[::-1, ::-1, index].T


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_nifti_types_and_scaling(tmp_path: Path, kind: type) -> None:
    image = nib.Nifti1Image((RAMP % 200).astype(kind), np.diag([2.0, 2.0, 2.0, 1.0]))
    image.header.set_slope_inter(2.5, -10)
    nib.save(image, tmp_path / "a.nii.gz")
    case = read_case(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(case.pixels[0, 0], _upright_axial(nib.load(tmp_path / "a.nii.gz"), 14), rtol=1e-6)
    assert case.meta["slice"] == [14]


def test_real_niftis(shared_data: Path) -> None:
    for name in ("ch2bet.nii.gz", "anatomical.nii", "CT_pitch.nii.gz"):
        path = shared_data / "formats" / "nifti" / name
        image = nib.load(path)
        case = read_case(path)
        np.testing.assert_allclose(case.pixels[0, 0], _upright_axial(image, image.shape[2] // 2), rtol=1e-6)


def test_four_dimensions_take_the_first_volume_unless_told(tmp_path: Path) -> None:
    data = np.stack([RAMP, RAMP + 7, RAMP[::-1]], -1)
    nib.save(nib.Nifti1Image(data, np.diag([-1.0, -1.0, 1.0, 1.0])), tmp_path / "a.nii")
    case = read_case(tmp_path / "a.nii", slice=3)
    np.testing.assert_array_equal(case.pixels[0, 0], RAMP[:, :, 3].T)
    assert any("3 volumes; the first" in note for note in case.meta["notes"])
    third = read_case(tmp_path / "a.nii", slice=3, frame="last")
    np.testing.assert_array_equal(third.pixels[0, 0], RAMP[::-1, :, 3].T)
    with pytest.raises(InputError, match="frame 3 does not exist"):
        read_case(tmp_path / "a.nii", frame=3)


def test_rgb_nifti_is_colour(tmp_path: Path) -> None:
    rgb = np.zeros((20, 24, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    rgb["R"], rgb["G"] = RAMP[:, :, :4] % 256, 100
    nib.save(nib.Nifti1Image(rgb, np.diag([-1.0, -1.0, 1.0, 1.0])), tmp_path / "a.nii")
    case = read_case(tmp_path / "a.nii", slice=2)
    assert case.pixels.shape == (1, 3, 24, 20)
    np.testing.assert_array_equal(case.pixels[0, 0], rgb["R"][:, :, 2].T)


def test_two_dimensional_and_thick_sagittal_niftis_show_their_own_plane(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(RAMP[:, :, 0], np.diag([-1.0, -1.0, 1.0, 1.0])), tmp_path / "flat.nii")
    np.testing.assert_array_equal(read_case(tmp_path / "flat.nii").pixels[0, 0], RAMP[:, :, 0].T)
    nib.save(nib.Nifti1Image(RAMP, np.diag([6.0, 1.0, 1.0, 1.0])), tmp_path / "sagittal.nii")
    case = read_case(tmp_path / "sagittal.nii")
    assert case.meta["orientation"]["plane"] == "sagittal" and case.pixels.shape[2:] == (28, 24)


def test_analyze(tmp_path: Path) -> None:
    image = nib.Spm99AnalyzeImage(RAMP, np.diag([2.0, 2.0, 2.0, 1.0]))
    nib.save(image, tmp_path / "a.img")
    for name in ("a.img", "a.hdr"):
        case = read_case(tmp_path / name)
        np.testing.assert_array_equal(case.pixels[0, 0], _upright_axial(nib.load(tmp_path / "a.img"), 14))
        assert any("left from right" in note for note in case.meta["notes"])


@pytest.mark.parametrize("damage", ["truncated", "claims too much", "gzip cut", "not nifti"])
def test_damaged_niftis_are_refused(tmp_path: Path, damage: str) -> None:
    nib.save(nib.Nifti1Image(RAMP, np.eye(4)), tmp_path / "a.nii")
    nib.save(nib.Nifti1Image(RAMP, np.eye(4)), tmp_path / "b.nii.gz")
    data = bytearray((tmp_path / "a.nii").read_bytes())
    if damage == "truncated":
        (tmp_path / "c.nii").write_bytes(data[:5000])
    elif damage == "claims too much":
        data[42:48] = b"\xff\x7f\xff\x7f\xff\x7f"
        (tmp_path / "c.nii").write_bytes(data)
    elif damage == "gzip cut":
        (tmp_path / "c.nii.gz").write_bytes((tmp_path / "b.nii.gz").read_bytes()[:3000])
    else:
        (tmp_path / "c.nii").write_bytes(b"hello" * 200)
    path = next(tmp_path.glob("c.*"))
    with pytest.raises(InputError) as caught:
        read_case(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_nrrd_and_metaimage_equal_the_nifti(tmp_path: Path) -> None:
    itk = pytest.importorskip("itk")
    volume = made_files.body(18).astype(np.int16)
    image = itk.image_from_array(volume)
    image.SetSpacing([0.6, 0.8, 2.0])
    affine = np.diag([-0.6, -0.8, 2.0, 1.0])
    nib.save(nib.Nifti1Image(volume.transpose(2, 1, 0), affine), tmp_path / "a.nii")
    turned = itk.image_from_array(np.ascontiguousarray(volume[:, ::-1, ::-1]))  # the same patient, stored as RAS
    turned.SetSpacing([0.6, 0.8, 2.0])
    turned.SetDirection(np.diag([-1.0, -1.0, 1.0]))
    itk.imwrite(image, str(tmp_path / "a.nrrd"), compression=True)
    itk.imwrite(image, str(tmp_path / "a.mha"))
    itk.imwrite(turned, str(tmp_path / "turned.mhd"))
    for name in ("a.nrrd", "a.mha", "turned.mhd"):
        for plane in ("axial", "coronal", "sagittal"):
            found, expected = (read_case(tmp_path / n, plane=plane) for n in (name, "a.nii"))
            np.testing.assert_array_equal(found.pixels, expected.pixels)
            np.testing.assert_allclose(found.meta["spacing_mm"], expected.meta["spacing_mm"], atol=1e-6)
    (tmp_path / "cut.nrrd").write_bytes((tmp_path / "a.nrrd").read_bytes()[:600])
    with pytest.raises(InputError, match=r"cut\.nrrd"):
        read_case(tmp_path / "cut.nrrd")
