"""DICOM headers that contradict themselves, or are silent: read by a stated rule with a note, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import made_files
import numpy as np
import pydicom
import pytest
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.uid import ImplicitVRLittleEndian, RLELossless, generate_uid

from scripts.errors import InputError
from scripts.reading import read_case
from scripts.windowing import window_image


def _rescaled(path: Path, keyword: str, vr: str, value: Any) -> Path:
    made = made_files.ct_slice(made_files.body()[4])
    with pydicom.config.disable_value_validation():
        element = DataElement(tag_for_keyword(keyword), "LO" if vr == "DS" else vr, value)
        element.VR = vr
        made[element.tag] = element
        return made_files.save(path, made)


@pytest.mark.parametrize(
    ("vr", "value"),
    [("DS", "-1024,0"), ("FD", -1024.0), ("FL", -1024.0), ("SS", -1024), ("SL", -1024), ("US", 64512), ("LO", "-1024"),
     ("DS", "-1024,000")],
)  # fmt: skip
def test_an_intercept_written_in_another_way_is_read_and_noted(tmp_path: Path, vr: str, value: Any) -> None:
    case = read_case(_rescaled(tmp_path / "a.dcm", "RescaleIntercept", vr, value))
    np.testing.assert_array_equal(case.pixels[0, 0], made_files.body()[4])
    assert any("RescaleIntercept is written" in note and "-1024" in note for note in case.meta["notes"])


@pytest.mark.parametrize("keyword", ["RescaleIntercept", "RescaleSlope"])
@pytest.mark.parametrize(
    ("vr", "value"), [("DS", "abc"), ("LO", "minus"), ("DS", "-1,024"), ("DS", "nan"), ("DS", "1e300")]
)
def test_a_rescale_that_cannot_be_read_is_refused(tmp_path: Path, keyword: str, vr: str, value: str) -> None:
    with pytest.raises(InputError, match=f"its {keyword} is there but is no number"):
        read_case(_rescaled(tmp_path / "a.dcm", keyword, vr, value))


def test_half_a_rescale_has_a_rule_and_makes_no_hounsfield_units(tmp_path: Path) -> None:
    made = made_files.ct_slice(made_files.body()[4])
    del made.RescaleIntercept
    case = read_case(made_files.save(tmp_path / "a.dcm", made))
    np.testing.assert_array_equal(case.pixels[0, 0], made_files.body()[4] + 1024)
    assert case.meta["units"] != "HU" and any("intercept 0 was assumed" in note for note in case.meta["notes"])


def test_slope_zero_is_said_unless_the_slice_is_empty_anyway(tmp_path: Path) -> None:
    made = made_files.ct_slice(made_files.body()[4], RescaleSlope=0)
    with pytest.raises(InputError, match="RescaleSlope is 0, which would give every pixel the value -1024"):
        read_case(made_files.save(tmp_path / "a.dcm", made))


@pytest.mark.parametrize("parts", [[1, 1, 1, 1, 1], [2, 1, 2], [5], [3, 2]])
@pytest.mark.parametrize("concatenated", [False, True])
def test_enhanced_files_of_a_series_are_one_volume(tmp_path: Path, parts: list[int], concatenated: bool) -> None:
    volume, uid, joined = made_files.body(5), generate_uid(), generate_uid()
    at = 0
    for number, count in enumerate(parts, 1):
        made = made_files.enhanced_ct(volume, list(range(at, at + count)))
        made.SeriesInstanceUID = uid
        if concatenated:
            made.ConcatenationUID, made.InConcatenationNumber, made.InConcatenationTotalNumber = (
                joined,
                number,
                len(parts),
            )
        made_files.save(tmp_path / f"{9 - number}.dcm", made)
        at += count
    case = read_case(tmp_path, slice="all")
    np.testing.assert_array_equal(case.pixels[:, 0], volume)


@pytest.mark.parametrize("by", ["SliceLocation", "InstanceNumber"])
@pytest.mark.parametrize("oriented", [False, True])
def test_slices_without_positions_are_put_in_order(tmp_path: Path, by: str, oriented: bool) -> None:
    volume, uid = made_files.body(7), generate_uid()
    for k, hu in enumerate(volume):
        made = made_files.ct_slice(hu, number=7 - k if by == "SliceLocation" else k, SeriesInstanceUID=uid)
        del made.ImagePositionPatient
        if not oriented:
            del made.ImageOrientationPatient
        if by == "SliceLocation":
            made.SliceLocation = 3.0 * k
        made_files.save(tmp_path / f"{(k * 3) % 7}.dcm", made)
    case = read_case(tmp_path)
    np.testing.assert_array_equal(case.pixels[0, 0], volume[3])
    words = {"SliceLocation": "SliceLocation", "InstanceNumber": "instance number"}[by]
    assert case.meta["slice"] == [3] and any(words in note for note in case.meta["notes"])


def test_each_view_is_shown_by_the_window_of_its_frame(tmp_path: Path) -> None:
    volume = made_files.body(5)
    path = made_files.save(tmp_path / "a.dcm", made_files.enhanced_ct(volume, [0, 1, 2, 3, 4]))
    for rule in (0, 4, "most_informative"):
        case = read_case(path, slice=rule)
        shown, described = window_image(case.pixels, case.meta)
        assert described["centre"] == 40 + case.meta["slice"][0]
    several = read_case(path, slice="all")
    together = window_image(several.pixels, several.meta)[0]
    alone = read_case(path, slice=4)
    np.testing.assert_array_equal(together[4], window_image(alone.pixels, alone.meta)[0][0])


@pytest.mark.parametrize(("vr", "signed"), [("US", True), ("SS", False)])
@pytest.mark.parametrize("implicit", [False, True])
def test_padding_in_the_wrong_sign(tmp_path: Path, vr: str, signed: bool, implicit: bool) -> None:
    padding = -2000 if signed else 63536
    values = made_files.phantom(top=1000)
    values[:, :8] = padding
    made = made_files.dataset(values, modality="MR", signed=signed)
    tag = tag_for_keyword("PixelPaddingValue")
    made[tag] = DataElement(tag, vr, 63536 if vr == "US" else -2000)
    path = tmp_path / "a.dcm"
    made_files.save(path, made, ImplicitVRLittleEndian) if implicit else made_files.save(path, made)
    case = read_case(path)
    assert case.meta["padding"] == [padding, padding]
    assert window_image(case.pixels, case.meta)[1]["high"] <= 1000


@pytest.mark.parametrize("sop_class", ["1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.2"])
def test_a_picture_labelled_ct_is_not_windowed_in_hounsfield_units(tmp_path: Path, sop_class: str) -> None:
    tags = {"RescaleSlope": 1, "RescaleIntercept": 0, "BodyPartExamined": "HEAD"}
    made = made_files.dataset(made_files.phantom(top=255), modality="CT", allocated=8, **tags)
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = sop_class
    case = read_case(made_files.save(tmp_path / "a.dcm", made))
    assert case.meta["units"] == "display"
    np.testing.assert_allclose(window_image(case.pixels, case.meta)[0][0, 0] * 255, case.pixels[0, 0], atol=1e-4)


def test_a_compressed_file_that_is_cut_short_is_no_other_kind_of_file(tmp_path: Path) -> None:
    """The parser gives up all of it where the pixel data's end is missing."""
    made = made_files.ct_slice(made_files.body()[5])
    made.compress(RLELossless)
    whole, cut = tmp_path / "whole.dcm", tmp_path / "cut.dcm"
    made.save_as(whole, enforce_file_format=True)
    assert read_case(whole).pixels.size
    cut.write_bytes(whole.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"cut\.dcm: .*(cut short|damaged)"):
        read_case(cut)
