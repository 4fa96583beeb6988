"""Folders: sorting, mixed series, gaps, tilt, phases, zip, DICOMDIR."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import made_files
import nibabel as nib
import numpy as np
import pydicom
import pytest

from scripts.errors import InputError
from scripts.reading import read_case


def test_slices_are_sorted_by_position_not_by_name_or_number(tmp_path: Path) -> None:
    volume = made_files.body(9)
    folder = made_files.ct_series(tmp_path / "s", volume)
    np.testing.assert_array_equal(read_case(folder, slice="all").pixels[:, 0], volume)
    case = read_case(folder)
    np.testing.assert_array_equal(case.pixels[0, 0], volume[4])
    assert case.meta["slice"] == [4] and case.meta["orientation"]["plane"] == "axial"


def test_reformats_are_upright(tmp_path: Path) -> None:
    volume = made_files.body(18)
    folder = made_files.ct_series(tmp_path / "s", volume)
    coronal = read_case(folder, plane="coronal", slice=11)
    np.testing.assert_array_equal(coronal.pixels[0, 0], volume[::-1, 11, :])  # head up, patient's right on the left
    assert coronal.meta["spacing_mm"] == [2.0, 0.6]
    sagittal = read_case(folder, plane="sagittal", slice=20)
    np.testing.assert_array_equal(sagittal.pixels[0, 0], volume[::-1, :, 20])  # face to the left
    assert sagittal.meta["spacing_mm"] == [2.0, 0.8]


def _nifti(path: Path, volume: np.ndarray, codes: str) -> Path:
    """The CT series' volume [z, y, x] as NIfTI, stored in the given axis order."""
    affine = np.diag([-0.6, -0.8, 2.0, 1.0])
    affine[:3, 3] = [20.0, 30.0, -50.0]
    image = nib.Nifti1Image(volume.transpose(2, 1, 0).astype(np.int16), affine)
    turned = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt(codes))
    nib.save(image.as_reoriented(turned), path)
    return path


@pytest.mark.parametrize("codes", ["LPS", "RAS", "LAS", "PIR", "SRP", "ASL"])
@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_a_series_and_its_nifti_export_show_the_same(tmp_path: Path, codes: str, plane: str) -> None:
    volume = made_files.body(18)
    folder = made_files.ct_series(tmp_path / "s", volume)
    path = _nifti(tmp_path / "v.nii.gz", volume, codes)
    for rule in ("middle", 15, "even:3"):
        series, nifti = (read_case(p, plane=plane, slice=rule) for p in (folder, path))
        np.testing.assert_array_equal(series.pixels, nifti.pixels)
        assert series.meta["slice"] == nifti.meta["slice"]
        np.testing.assert_allclose(series.meta["spacing_mm"], nifti.meta["spacing_mm"], atol=1e-6)
    assert nifti.meta["modality"] == "CT" and nifti.meta["units"] == "HU"


@pytest.mark.parametrize(("orientation", "plane"), [(made_files.CORONAL, "coronal"), (made_files.SAGITTAL, "sagittal")])
def test_a_series_acquired_in_another_plane_is_shown_in_it(
    tmp_path: Path, orientation: list[float], plane: str
) -> None:
    images = np.stack([made_files.phantom(seed=k) + 3 * k for k in range(6)])
    axis = 1 if plane == "coronal" else 0
    for k in range(6):
        made = made_files.dataset(images[k], modality="MR", SeriesInstanceUID="1.2.3", InstanceNumber=k,
                                  ImageOrientationPatient=orientation, PixelSpacing=[1, 1],
                                  ImagePositionPatient=[5.0 * k if a == axis else 0.0 for a in range(3)])  # fmt: skip
        made_files.save(tmp_path / f"{k}.dcm", made)
    case = read_case(tmp_path, slice="all")
    assert case.meta["orientation"]["plane"] == plane
    np.testing.assert_array_equal(case.pixels[:, 0], images)


def test_mixed_series_are_not_mixed_and_the_choice_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    small, large = made_files.body(5), made_files.body(8) + 7
    made_files.ct_series(tmp_path / "study", small, SeriesNumber=2)
    made_files.ct_series(tmp_path / "study" / "more", large, SeriesNumber=9)
    with caplog.at_level(logging.WARNING):
        case = read_case(tmp_path / "study", slice="all")
    np.testing.assert_array_equal(case.pixels[:, 0], large)
    assert "took series 9 with 8" in caplog.text and "series 2 with 5" in caplog.text
    np.testing.assert_array_equal(read_case(tmp_path / "study", slice="all", series=2).pixels[:, 0], small)
    with pytest.raises(InputError, match="no series 5"):
        read_case(tmp_path / "study", series=5)


def test_a_localizer_in_the_same_series_stays_out(tmp_path: Path) -> None:
    volume = made_files.body(6)
    made_files.ct_series(tmp_path, volume, SeriesInstanceUID="1.2.3")
    scout = made_files.ct_slice(volume[2], 0.0, 99, orientation=made_files.CORONAL, SeriesInstanceUID="1.2.3")
    made_files.save(tmp_path / "scout.dcm", scout)
    np.testing.assert_array_equal(read_case(tmp_path, slice="all").pixels[:, 0], volume)


def test_gaps_are_tolerated_and_bridged_in_reformats(tmp_path: Path) -> None:
    positions = [0.0, 2.0, 4.0, 10.0, *(12.0 + 2 * k for k in range(12))]
    ramp = np.stack([np.full((24, 32), int(z * 10)) for z in positions])
    ramp[:, :, 0] = -1000
    folder = made_files.ct_series(tmp_path / "s", ramp, positions=positions)
    case = read_case(folder, plane="coronal")
    np.testing.assert_allclose(case.pixels[0, 0][::-1, 5], np.arange(0, 35, 2) * 10, atol=1e-3)
    assert any("slice distances differ (2.00 to 6.00 mm)" in note for note in case.meta["notes"])
    np.testing.assert_array_equal(read_case(folder, slice=3).pixels[0, 0], ramp[3])


def test_gantry_tilt_is_tolerated_and_noted(tmp_path: Path) -> None:
    angle = np.radians(20)
    tilted = [1, 0, 0, 0, float(np.cos(angle)), float(-np.sin(angle))]
    volume = made_files.body(6)
    made_files.ct_series(tmp_path, volume, orientation=tilted)  # stacked along the table, not along the normal
    case = read_case(tmp_path, slice="all")
    np.testing.assert_array_equal(case.pixels[:, 0], volume)
    assert any("slant of 20.0 degrees" in note for note in case.meta["notes"])


def test_phases_at_the_same_positions_become_volumes(tmp_path: Path) -> None:
    volume = made_files.body(5)
    for phase in range(2):
        for k in range(5):
            number = 10 * phase + k
            made = made_files.ct_slice(volume[k] + 50 * phase, 2.0 * k, number, SeriesInstanceUID="1.2.3")
            made_files.save(tmp_path / f"{k}_{phase}.dcm", made)
    first = read_case(tmp_path, slice="all")
    np.testing.assert_array_equal(first.pixels[:, 0], volume)
    np.testing.assert_array_equal(read_case(tmp_path, slice="all", frame=1).pixels[:, 0], volume + 50)
    assert any("share each position" in note for note in first.meta["notes"])


def test_zip_equals_folder(tmp_path: Path) -> None:
    folder = made_files.ct_series(tmp_path / "s", made_files.body(5))
    (folder / "readme.txt").write_text("x")
    path = shutil.make_archive(str(tmp_path / "study"), "zip", folder)
    case = read_case(path, slice="all")
    np.testing.assert_array_equal(case.pixels, read_case(folder, slice="all").pixels)
    assert any("1 other files" in note for note in case.meta["notes"])
    (tmp_path / "cut.zip").write_bytes(Path(path).read_bytes()[:-200])
    with pytest.raises(InputError, match="damaged zip"):
        read_case(tmp_path / "cut.zip")


def test_dicomdir_reads_what_it_names(tmp_path: Path) -> None:
    source = Path(pydicom.__file__).parent / "data" / "test_files" / "dicomdirtests"
    medium = shutil.copytree(source, tmp_path / "medium")
    case = read_case(medium / "DICOMDIR", slice="all")
    assert case.pixels.shape == (5, 1, 16, 16) and case.meta["series"]["number"] == 5
    files = [pydicom.dcmread(p) for p in sorted((medium / "98892001" / "CT5N").iterdir())]
    files.sort(key=lambda f: float(f.ImagePositionPatient[2]))
    for found, made in zip(case.pixels[:, 0], files, strict=True):
        np.testing.assert_array_equal(found, made.pixel_array * float(made.RescaleSlope) + float(made.RescaleIntercept))
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(source / "DICOMDIR", alone)
    with pytest.raises(InputError, match="beside it"):
        read_case(alone / "DICOMDIR")


def test_a_damaged_slice_does_not_stop_a_series(tmp_path: Path) -> None:
    volume = made_files.body(5)
    folder = made_files.ct_series(tmp_path, volume)
    (folder / "bad.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\x99" * 50)
    case = read_case(folder, slice="all")
    np.testing.assert_array_equal(case.pixels[:, 0], volume)


def test_real_series_equals_its_nifti_conversion(shared_data: Path, tmp_path: Path) -> None:
    """28 slices with uneven gaps and a tilted gantry, converted by hand as dcm2niix does."""
    folder = shared_data / "formats" / "ct_series"
    files = sorted((pydicom.dcmread(p) for p in folder.glob("*.dcm")), key=lambda f: float(f.ImagePositionPatient[2]))
    stack = np.stack([f.pixel_array * float(f.RescaleSlope) + float(f.RescaleIntercept) for f in files])
    spacing = [float(v) for v in files[0].PixelSpacing]
    affine = np.diag([-spacing[1], -spacing[0], 4.0, 1.0])
    flipped = stack.transpose(2, 1, 0)[:, ::-1].astype(np.int16)  # dcm2niix stores rows from the back
    affine[1, 1] = spacing[0]
    nib.save(nib.Nifti1Image(flipped, affine), tmp_path / "v.nii.gz")
    series, nifti = read_case(folder), read_case(tmp_path / "v.nii.gz")
    assert series.meta["slice"] == nifti.meta["slice"] == [14]
    np.testing.assert_array_equal(series.pixels, nifti.pixels)
    np.testing.assert_array_equal(series.pixels[0, 0], stack[14])
