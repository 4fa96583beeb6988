"""Every DICOM kind against pydicom's own functions; each row of the reader's promises once."""

from __future__ import annotations

import warnings
from pathlib import Path

import made_files
import numpy as np
import pydicom
import pytest
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi, apply_windowing
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from scripts.errors import InputError
from scripts.reading import read_case
from scripts.windowing import window_image

PACKAGED = Path(pydicom.__file__).parent / "data" / "test_files"


def _hu(path: Path) -> np.ndarray:
    made = pydicom.dcmread(path)
    return apply_modality_lut(made.pixel_array, made)


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_native_syntaxes(tmp_path: Path, syntax: str) -> None:
    hu = made_files.body()[4]
    path = made_files.save(tmp_path / "a.dcm", made_files.ct_slice(hu), syntax)
    case = read_case(path)
    np.testing.assert_array_equal(case.pixels[0, 0], hu)
    assert case.meta["units"] == "HU" and case.meta["modality"] == "CT"


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless])
@pytest.mark.parametrize("signed", [False, True])
def test_lossless_compression(tmp_path: Path, syntax: str, signed: bool) -> None:
    array = made_files.phantom() - (2000 if signed else 0)
    made = made_files.dataset(array, modality="MR", signed=signed)
    made.compress(syntax)
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    np.testing.assert_array_equal(read_case(tmp_path / "a.dcm").pixels[0, 0], array)


@pytest.mark.parametrize("stored", [8, 12, 16])
def test_jpeg_lossless(tmp_path: Path, stored: int) -> None:
    array = made_files.phantom(top=2**stored - 1)
    made = made_files.dataset(array, modality="MR", allocated=8 if stored == 8 else 16, stored=stored)
    plain = made_files.save(tmp_path / "a.dcm", made)
    path = made_files.as_jpeg_lossless(plain, tmp_path / "b.dcm")
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID.name.startswith("JPEG Lossless")
    np.testing.assert_array_equal(read_case(path).pixels[0, 0], array)


def test_twelve_bit_jpeg_has_the_values_that_its_makers_state() -> None:
    pixels = read_case(PACKAGED / "JPGExtended.dcm").pixels[0, 0]
    assert pixels.shape == (1024, 256)
    assert (pixels[420, 140], pixels[230, 120]) == (244, 95)


@pytest.mark.parametrize(("stored", "signed"), [(8, False), (10, False), (12, True), (16, False), (16, True)])
def test_bit_depths_and_signs(tmp_path: Path, stored: int, signed: bool) -> None:
    top = 2 ** (stored - int(signed)) - 1
    array = made_files.phantom(top=top) - (top // 2 if signed else 0)
    made = made_files.dataset(array, modality="MR", allocated=8 if stored == 8 else 16, stored=stored, signed=signed)
    np.testing.assert_array_equal(read_case(made_files.save(tmp_path / "a.dcm", made)).pixels[0, 0], array)


def test_monochrome1_is_inverted_once_with_its_window(tmp_path: Path) -> None:
    array = made_files.phantom(top=4095)
    plain = made_files.dataset(array, modality="DX", stored=12, WindowCenter=1500, WindowWidth=2000)
    turned = made_files.dataset(4095 - array, modality="DX", stored=12, photometric="MONOCHROME1",
                                WindowCenter=4095 - 1500 + 1, WindowWidth=2000)  # fmt: skip
    expected = read_case(made_files.save(tmp_path / "a.dcm", plain))
    found = read_case(made_files.save(tmp_path / "b.dcm", turned))
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    pair = [window_image(case.pixels, case.meta)[0] for case in (found, expected)]
    np.testing.assert_allclose(pair[0], pair[1], atol=1e-6)
    made = pydicom.dcmread(tmp_path / "b.dcm")
    by_pydicom = apply_windowing(made.pixel_array, made)
    shown = window_image(found.pixels, found.meta, "file")[0][0, 0]
    np.testing.assert_allclose(shown, 1 - by_pydicom / 4095, atol=1e-3)
    assert found.meta["luts"].count("MONOCHROME1 inverted") == 1


def test_monochrome1_ct_keeps_hounsfield_units_and_inverts_what_it_shows(tmp_path: Path) -> None:
    hu = made_files.body()[4]
    plain = read_case(made_files.save(tmp_path / "a.dcm", made_files.ct_slice(hu)))
    inverse = read_case(
        made_files.save(tmp_path / "b.dcm", made_files.ct_slice(hu, PhotometricInterpretation="MONOCHROME1"))
    )
    np.testing.assert_array_equal(inverse.pixels[0, 0], hu)
    first, second = (window_image(c.pixels, c.meta, "abdomen")[0] for c in (plain, inverse))
    np.testing.assert_allclose(second, 1 - first, atol=1e-6)


def test_modality_lut(tmp_path: Path) -> None:
    array = made_files.phantom(top=255)
    table = (np.arange(256) ** 1.5).astype(np.uint16)
    made = made_files.dataset(array, modality="CR", allocated=16, stored=8,
                              ModalityLUTSequence=[made_files.lut_item(0, table)])  # fmt: skip
    case = read_case(made_files.save(tmp_path / "a.dcm", made))
    np.testing.assert_array_equal(case.pixels[0, 0], table[array])
    assert case.meta["luts"] == ["modality LUT"]


@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
def test_voi_lut_wins_over_the_window(tmp_path: Path, photometric: str) -> None:
    array = made_files.phantom(top=4095)
    table = np.linspace(65535, 100, 4096).astype(np.uint16)[::-1]
    made = made_files.dataset(array, modality="MG", stored=12, photometric=photometric, WindowCenter=1, WindowWidth=2,
                              VOILUTSequence=[made_files.lut_item(0, table)])  # fmt: skip
    path = made_files.save(tmp_path / "a.dcm", made)
    case = read_case(path)
    read = pydicom.dcmread(path)
    expected = apply_voi(read.pixel_array, read, index=0).astype(np.float64)
    np.testing.assert_array_equal(case.pixels[0, 0], 65535 - expected if photometric == "MONOCHROME1" else expected)
    assert case.meta["voi"] == [] and "VOI LUT" in case.meta["luts"]


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_window_functions_equal_pydicom(tmp_path: Path, function: str) -> None:
    array = made_files.phantom(top=4095)
    made = made_files.dataset(array, modality="DX", stored=12, WindowCenter=1700, WindowWidth=1501,
                              VOILUTFunction=function)  # fmt: skip
    path = made_files.save(tmp_path / "a.dcm", made)
    case = read_case(path)
    read = pydicom.dcmread(path)
    expected = apply_windowing(read.pixel_array, read) / 4095
    np.testing.assert_allclose(window_image(case.pixels, case.meta, "file")[0][0, 0], expected, atol=1e-4)


def test_palette_becomes_colour_not_indices() -> None:
    path = PACKAGED / "examples_palette.dcm"
    case = read_case(path)
    read = pydicom.dcmread(path)
    expected = apply_color_lut(read.pixel_array, read)
    assert case.pixels.shape == (1, 3, 350, 800)
    np.testing.assert_array_equal(case.pixels[0].transpose(1, 2, 0), expected)
    shown, _ = window_image(case.pixels, case.meta)
    np.testing.assert_allclose(shown[0].transpose(1, 2, 0), expected / 65535, atol=1e-6)


def test_rgb_and_ybr(tmp_path: Path) -> None:
    colour = np.random.default_rng(0).integers(0, 256, (40, 56, 3))
    made = made_files.dataset(colour, modality="US", photometric="RGB", allocated=8)
    case = read_case(made_files.save(tmp_path / "rgb.dcm", made))
    np.testing.assert_array_equal(case.pixels[0].transpose(1, 2, 0), colour)
    smooth = np.stack([made_files.phantom(top=255)] * 3, -1) // [1, 2, 3]
    made = made_files.jpeg_dataset(smooth, modality="US")
    made.save_as(tmp_path / "ybr.dcm", enforce_file_format=True)
    found = read_case(tmp_path / "ybr.dcm").pixels[0].transpose(1, 2, 0)
    np.testing.assert_array_equal(found, pydicom.dcmread(tmp_path / "ybr.dcm").pixel_array)
    flat = (slice(20, 30), slice(20, 40))  # away from edges, where chroma is subsampled
    assert np.abs(found[flat] - smooth[flat]).mean() < 8


def test_a_cine_keeps_its_axes_and_takes_the_middle_frame() -> None:
    path = PACKAGED / "examples_ybr_color.dcm"
    expected = pydicom.dcmread(path).pixel_array
    case = read_case(path)
    assert case.meta["frame"] == [15]
    np.testing.assert_array_equal(case.pixels[0].transpose(1, 2, 0), expected[15])
    several = read_case(path, frame=[0, 0.5, "last"])
    assert several.pixels.shape == (3, 3, 240, 320) and several.meta["frame"] == [0, 15, 29]
    np.testing.assert_array_equal(several.pixels.transpose(0, 2, 3, 1), expected[[0, 15, 29]])


def test_frame_axis_of_a_grey_cine_is_not_scrambled(tmp_path: Path) -> None:
    frames = np.stack([made_files.phantom(40, 56, seed=k) + 50 * k for k in range(5)])
    made = made_files.dataset(frames, modality="XA", frames=5)
    case = read_case(made_files.save(tmp_path / "a.dcm", made), frame="all")
    np.testing.assert_array_equal(case.pixels[:, 0], frames)


def test_enhanced_ct_is_sorted_by_position_and_uses_each_frames_rescale(tmp_path: Path) -> None:
    volume = made_files.body(7)
    made = made_files.enhanced_ct(volume, [3, 0, 6, 1, 5, 2, 4])
    for k, group in enumerate(made.PerFrameFunctionalGroupsSequence):
        group.PixelValueTransformationSequence[0].RescaleIntercept = -1024 + 10 * k
    path = made_files.save(tmp_path / "a.dcm", made)
    case = read_case(path, slice="all")
    stored_at = [[3, 0, 6, 1, 5, 2, 4].index(k) for k in range(7)]
    np.testing.assert_array_equal(case.pixels[:, 0], volume + 10 * np.array(stored_at)[:, None, None])
    assert case.meta["spacing_mm"] == [0.8, 0.6] and case.meta["units"] == "HU"
    middle = read_case(path)
    np.testing.assert_array_equal(middle.pixels[0], case.pixels[3])


def test_enhanced_file_with_two_phases_gives_one_of_them(tmp_path: Path) -> None:
    volume = made_files.body(4)
    made = made_files.enhanced_ct(np.concatenate([volume, volume + 100]), [0, 1, 2, 3, 4, 5, 6, 7])
    for k, group in enumerate(made.PerFrameFunctionalGroupsSequence):
        group.PlanePositionSequence[0].ImagePositionPatient = [-20, -30, -50 + 2 * (k % 4)]
    path = made_files.save(tmp_path / "a.dcm", made)
    np.testing.assert_array_equal(read_case(path, slice="all").pixels[:, 0], volume)
    second = read_case(path, slice="all", frame=1)
    np.testing.assert_array_equal(second.pixels[:, 0], volume + 100)
    assert second.meta["frame"] == [1]


def test_contradictory_header_is_refused(tmp_path: Path) -> None:
    made = made_files.ct_slice(made_files.body()[4])
    made.compress(JPEG2000Lossless)
    made.Rows = 80
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(InputError, match="its header says 56 x 80 pixels but its compressed image 56 x 40"):
        read_case(tmp_path / "a.dcm")


def test_every_packaged_file_is_read_or_refused_in_one_sentence() -> None:
    read = 0
    files = [p for p in sorted(PACKAGED.parent.rglob("*")) if p.is_file() and p.suffix not in (".py", ".pyc")]
    assert len(files) > 150
    for path in files:
        try:
            with warnings.catch_warnings(record=True) as heard:
                warnings.simplefilter("always")
                case = read_case(path)
                shown, _ = window_image(case.pixels, case.meta)
            assert not [w for w in heard if "pydicom" in str(w.filename)]
        except InputError as error:
            text = str(error)
            assert str(path) in text and "\n" not in text and len(text) < len(str(path)) + 160
            continue
        read += 1
        assert shown.shape == (len(case.pixels), 3, *case.pixels.shape[2:])
        assert shown.min() >= 0 and shown.max() <= 1
    assert read >= 85


def test_packaged_images_equal_pydicoms_pixels() -> None:
    """Whatever pydicom's default decoders make of a single-frame file, ours agree (lossy JPEG to 2 grey values)."""
    compared = 0
    for path in sorted(PACKAGED.glob("*.dcm")):
        try:
            made = pydicom.dcmread(path)
            expected = made.pixel_array
            found = read_case(path).pixels
        except Exception:
            continue
        if int(made.get("NumberOfFrames", 1) or 1) > 1:
            continue
        expected = apply_color_lut(expected, made) if "PALETTE" in made.PhotometricInterpretation else expected
        if expected.ndim == 2:
            expected = apply_modality_lut(expected, made)[..., None]
            if made.PhotometricInterpretation == "MONOCHROME1":
                continue  # tested above
        syntax = made.file_meta.TransferSyntaxUID.name
        lossy = 2 if "JPEG" in syntax and "Lossless" not in syntax else 0
        np.testing.assert_allclose(found[0].transpose(1, 2, 0), expected, atol=lossy, rtol=1e-6, err_msg=path.name)
        compared += 1
    assert compared >= 35


def test_real_files_equal_pydicoms_reading(shared_data: Path) -> None:
    """Each shared DICOM file, frame by frame, as it is stored; lossy JPEG to 2 grey values."""
    files = sorted((shared_data / "formats" / "dicom").glob("*.dcm"))
    assert files
    for path in files:
        made = pydicom.dcmread(path)
        frames = made.pixel_array if int(made.get("NumberOfFrames", 1)) > 1 else made.pixel_array[None]
        found = read_case(path, slice="all", frame="all").pixels.transpose(0, 2, 3, 1)
        if made.PhotometricInterpretation == "PALETTE COLOR":
            frames = apply_color_lut(frames[0], made)[None]
        elif made.SamplesPerPixel == 1:
            shared = made.get("SharedFunctionalGroupsSequence")
            rescale = shared[0].PixelValueTransformationSequence[0] if shared else made
            frames = frames * float(rescale.get("RescaleSlope", 1)) + float(rescale.get("RescaleIntercept", 0))
            frames = frames[..., None]
        if made.PhotometricInterpretation == "MONOCHROME1":
            frames = 2**made.BitsStored - 1 - frames
        lossy = 2 if made.PhotometricInterpretation.startswith("YBR") else 0
        np.testing.assert_allclose(found, frames, atol=lossy, rtol=1e-6, err_msg=path.name)


def test_an_image_without_pixels_and_an_object_that_has_none_are_told_apart(tmp_path: Path) -> None:
    source = PACKAGED / "CT_small.dcm"
    for length in (1500, 3000):  # within its header
        (tmp_path / "cut.dcm").write_bytes(source.read_bytes()[:length])
        with pytest.raises(InputError, match=r"cut\.dcm: is a DICOM image without its pixels: cut short"):
            read_case(tmp_path / "cut.dcm")
    with pytest.raises(InputError, match="is a structured report, which holds no image"):
        read_case(PACKAGED / "test-SR.dcm")
