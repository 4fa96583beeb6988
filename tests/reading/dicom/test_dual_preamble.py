"""A DICOM file whose preamble begins like a TIFF is a DICOM file (PS3.10 section 7.1 allows both in one file)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from scripts.commands.samples import write_samples
from scripts.reading import read_case


@pytest.mark.parametrize("magic", [b"II*\x00", b"MM\x00*", b"BM", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"])
def test_dicm_decides_over_a_picture_preamble(tmp_path: Path, magic: bytes) -> None:
    original = write_samples(tmp_path)[0]
    data = original.read_bytes()
    disguised = tmp_path / "disguised.dcm"
    disguised.write_bytes(magic + bytes(128 - len(magic)) + data[128:])
    dataset = pydicom.dcmread(original)
    expected = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    for path in (original, disguised):
        case = read_case(path)
        assert case.meta["modality"] == "CT"
        np.testing.assert_allclose(case.pixels[0, 0], expected, atol=1e-3)
