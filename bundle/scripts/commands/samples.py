"""Sample images for a first run: real files that pydicom and nibabel ship as their test data (both MIT licence)."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

import nibabel
import pydicom

# name here: package and file in its test data
SAMPLES = {
    "ct_head.dcm": (pydicom, "data/test_files/J2K_pixelrep_mismatch.dcm"),
    "mr_abdomen.dcm": (pydicom, "data/test_files/examples_overlay.dcm"),
    "mr_head.nii.gz": (nibabel, "tests/data/example4d.nii.gz"),
    "ultrasound.dcm": (pydicom, "data/test_files/examples_rgb_color.dcm"),
}


def write_samples(folder: str | Path) -> list[Path]:
    """Copy the sample images into ``folder``; no network."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    sources = {name: Path(package.__file__).parent / file for name, (package, file) in SAMPLES.items()}
    return [Path(shutil.copyfile(source, folder / name)) for name, source in sources.items()]


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    about = f"Copies {len(SAMPLES)} real images that pydicom and nibabel ship as test data."
    parser = argparse.ArgumentParser(prog="python -m scripts.commands.samples", description=about)
    parser.add_argument("folder", help="where they go; it is made where it is not there")
    write_samples(parser.parse_args(arguments).folder)


if __name__ == "__main__":
    main()
