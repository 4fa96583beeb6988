"""Headers that name their voxels: beside them they are read, anywhere else they are not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import made_files
import numpy as np
import pytest

from scripts.errors import InputError
from scripts.reading import read_case
from scripts.reading.data_files import refuse_detached

VOLUME = made_files.body(18).astype(np.int16)
META = "NDims = 3\nElementSpacing = 1 1 1\nDimSize = 56 40 18\nElementType = MET_SHORT\n"
NRRD = "NRRD0004\ntype: short\ndimension: 3\nsizes: 56 40 18\nendian: little\nencoding: raw\n"
SLICES = "\n".join(f"below/s{k:02d}.raw" for k in range(18))
FORMS = {
    "MetaImage": ("a.mhd", META + "ElementDataFile = {}\n", "v.raw"),
    "MetaImage, a list": ("a.mhd", META + "ElementDataFile = {}\n", f"LIST\n{SLICES}"),
    "MetaImage, numbered": ("a.mhd", META + "ElementDataFile = {}\n", "below/s%02d.raw 0 17 1"),
    "NRRD": ("a.nhdr", NRRD + "data file: {}\n", "v.raw"),
    "NRRD, one word": ("a.nhdr", NRRD + "datafile: {}\n", "v.raw"),
    "NRRD, a list": ("a.nhdr", NRRD + "data file: {}\n", f"LIST\n{SLICES}"),
    "NRRD, numbered": ("a.nhdr", NRRD + "data file: {}\n", "below/s%02d.raw 0 17 1"),
}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder with voxels in it and below; the same voxels lie outside of it, and links to them inside."""
    pytest.importorskip("itk")
    folder = tmp_path / "study"
    for place in (folder / "below", tmp_path / "elsewhere"):
        place.mkdir(parents=True)
        for k, plane in enumerate(VOLUME):
            plane.tofile(place / f"s{k:02d}.raw")
        VOLUME.tofile(place / "v.raw")
    VOLUME.tofile(folder / "v.raw")
    os.symlink(tmp_path / "elsewhere" / "v.raw", folder / "link.raw")
    os.symlink(tmp_path / "elsewhere", folder / "linked")
    return folder


@pytest.mark.parametrize("form", FORMS)
def test_voxels_beside_the_header_or_below_are_read(study: Path, form: str) -> None:
    name, header, value = FORMS[form]
    (study / name).write_text(header.format(value))
    found = read_case(study / name, slice=7).pixels[0, 0]
    assert any((found == turned).all() for turned in (VOLUME[7], VOLUME[7][::-1, ::-1]))
    with pytest.raises(InputError, match=r"header without its voxels.*\.mha"):
        refuse_detached(str(study / name))


@pytest.mark.parametrize("place", [lambda s: f"{s.parent}/elsewhere/", lambda s: "../elsewhere/", lambda s: "linked/"])
@pytest.mark.parametrize("form", FORMS)
def test_voxels_elsewhere_are_not(study: Path, form: str, place: Callable[[Path], str]) -> None:
    name, header, value = FORMS[form]
    there = place(study)
    value = value.replace("below/", there) if "below/" in value else f"{there}{value}"
    (study / name).write_text(header.format(value))
    with pytest.raises(InputError, match=rf"{name}: its voxels lie in a file outside its folder.*one folder"):
        read_case(study / name)


@pytest.mark.parametrize("form", ["MetaImage", "NRRD"])
def test_a_link_that_leads_out_and_a_missing_file_are_refused(study: Path, form: str) -> None:
    name, header, _ = FORMS[form]
    (study / name).write_text(header.format("link.raw"))
    with pytest.raises(InputError, match="outside its folder"):
        read_case(study / name)
    (study / name).write_text(header.format("none.raw"))
    with pytest.raises(InputError, match="is missing; put both into one folder"):
        read_case(study / name)


@pytest.mark.parametrize(
    "ending",
    [
        # ITK takes the next line for an empty comment, divides by a step of 0, and prints by any pattern
        "Comment =\nElementDataFile = LOCAL\nElementDataFile = ../elsewhere/v.raw\n",
        "ElementDataFile = \n../elsewhere/v.raw\n",
        "ElementDataFile = ../elsewhere/v.raw\0\n",
        "ElementDataFile = s%02d.raw 0 17\n",
        "ElementDataFile = %s%n\n",
    ],
)
def test_what_itk_might_take_for_another_name_is_refused(study: Path, ending: str) -> None:
    (study / "a.mhd").write_text(META + ending)
    with pytest.raises(InputError, match="does not name its data file in a usual way"):
        read_case(study / "a.mhd")


@pytest.mark.parametrize("form", ["MetaImage", "NRRD"])
def test_a_data_file_too_short_for_its_header_is_refused_before_it_is_read(study: Path, form: str) -> None:
    name, header, value = FORMS[form]
    (study / name).write_text(header.format(value).replace("56 40 18", "56 400 180"))
    with pytest.raises(InputError, match="which the file cannot hold"):
        read_case(study / name)


def test_what_has_its_voxels_in_it_may_be_sent(study: Path) -> None:
    (study / "a.mha").write_bytes(f"{META}ElementDataFile = LOCAL\n".encode() + VOLUME.tobytes())
    (study / "a.nrrd").write_bytes(f"{NRRD}\n".encode() + VOLUME.tobytes())
    (study / "a.txt").write_text("no image, but its reader says so")
    for name in ("a.mha", "a.nrrd", "a.txt"):
        refuse_detached(str(study / name))
    for name in ("a.mha", "a.nrrd"):
        assert read_case(study / name, slice=7).pixels.shape[-2:] == (40, 56)
