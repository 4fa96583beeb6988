"""Sample images for a first run: real DICOM files that the package pydicom ships as its test data (MIT licence)."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pydicom

__all__ = ["SAMPLES", "write_samples"]

# name here: file in pydicom's package
SAMPLES = {
    "ct_slice.dcm": "CT_small.dcm",
    "mr_slice.dcm": "MR_small.dcm",
    "ultrasound.dcm": "examples_palette.dcm",
}


def write_samples(folder: str | Path) -> list[Path]:
    """Copy the sample images into ``folder``; no network."""
    source = Path(pydicom.__file__).parent / "data" / "test_files"
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return [Path(shutil.copyfile(source / original, folder / name)) for name, original in SAMPLES.items()]


if __name__ == "__main__":
    write_samples(sys.argv[1])
