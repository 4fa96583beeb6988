"""Time of reading a file, against pydicom and ITK.

    .venv/bin/python benchmarks/reading.py [--quick | --smoke]

1. A 512 x 512 CT slice, read and windowed, against ``pydicom.dcmread(path).pixel_array`` alone.
2. A CT series of 300 slices (``--quick``: 60, ``--smoke``: 4), all of it as float32, against MONAI's ITKReader.
3. A gzipped 4-D NIfTI file, one volume of it with all slices, against nibabel reading the whole file. Ours reads the
   stream to its end, too: only there stands the checksum that tells whether the file is damaged.

Files are made in a temporary folder. Rounds alternate between the two and the best of each counts, so that other load
on the machine weighs on both alike; slice and 4-D file are timed in processor time for the same reason. The last line
is one JSON object: ``slice_over_pydicom``, ``series_over_itkreader`` and ``gzip_4d_over_nibabel`` are time ratios,
below 1 where ours is faster.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "bundle"), str(ROOT / "tests" / "reading")]

import made_files  # noqa: E402
import nibabel as nib  # noqa: E402
import numpy as np  # noqa: E402
import pydicom  # noqa: E402
import torch  # noqa: E402
from monai.data import ITKReader  # noqa: E402

from scripts.reading import read_case  # noqa: E402
from scripts.windowing import window_image  # noqa: E402


def best_of(rounds: int, *tasks: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> list[float]:
    """Seconds of the fastest round of each task, the tasks taking turns."""
    best = [float("inf")] * len(tasks)
    for _ in range(rounds):
        for k, task in enumerate(tasks):
            start = clock()
            task()
            best[k] = min(best[k], clock() - start)
    return best


def slice_times(folder: Path, rounds: int) -> tuple[float, float]:
    """(pydicom, ours) seconds for one slice, uncompressed."""
    hu = np.random.default_rng(0).normal(20, 200, (512, 512)).astype(np.int64).clip(-1024, 2000)
    path = made_files.save(folder / "slice.dcm", made_files.ct_slice(hu, WindowCenter=40, WindowWidth=400))

    def ours() -> object:
        case = read_case(path)
        return window_image(case.pixels, case.meta)

    theirs, mine = best_of(rounds, lambda: pydicom.dcmread(path).pixel_array, ours, clock=time.process_time)
    return theirs, mine


def series_times(folder: Path, slices: int, rounds: int) -> tuple[float, float]:
    """(ITKReader, ours) seconds for all slices of a series."""
    generator = np.random.default_rng(0)
    base = generator.normal(20, 200, (512, 512)).astype(np.int64).clip(-1024, 2000)
    series = made_files.ct_series(folder / "series", np.stack([np.roll(base, k, axis=0) for k in range(slices)]))
    reader = ITKReader()

    def itk() -> np.ndarray:
        return reader.get_data(reader.read(str(series)))[0].astype(np.float32)

    def ours() -> np.ndarray:
        return read_case(series, slice="all").pixels

    assert np.array_equal(ours()[:, 0], itk().transpose(2, 1, 0)), "the two readers disagree"
    theirs, mine = best_of(rounds, itk, ours)
    return theirs, mine


def gzip_times(folder: Path, volumes: int, rounds: int) -> tuple[float, float]:
    """(nibabel, ours) seconds for a gzipped 4-D file of 64 x 64 x 32 voxels a volume."""
    values = np.random.default_rng(0).normal(400, 60, (64, 64, 32, volumes)).astype(np.int16)
    path = folder / "bold.nii.gz"
    nib.save(nib.Nifti1Image(values, np.eye(4)), path)

    def ours() -> np.ndarray:
        return read_case(path, slice="all", plane="axial", frame=volumes - 1).pixels

    upright = values[..., -1].transpose(2, 1, 0)[:, ::-1, ::-1]  # rows from anterior, columns from the patient's right
    assert np.array_equal(ours()[:, 0], upright), "the two readers disagree"
    theirs, mine = best_of(rounds, lambda: np.asanyarray(nib.load(path).dataobj), ours, clock=time.process_time)
    return theirs, mine


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="60 slices, fewer rounds")
    parser.add_argument("--smoke", action="store_true", help="4 slices, in a second")
    options = parser.parse_args(given)
    torch.set_num_threads(1)
    slices, rounds, series_rounds = (4, 3, 1) if options.smoke else (60, 50, 2) if options.quick else (300, 200, 4)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pydicom_s, slice_s = slice_times(folder, rounds)
        itk_s, series_s = series_times(folder, slices, series_rounds)
        nibabel_s, gzip_s = gzip_times(folder, 2 * slices, series_rounds)
    print(f"{'what':<34}{'other':>12}{'ours':>12}{'ratio':>8}")
    series = f"{slices} slices, MONAI ITKReader"
    rows = (("512 x 512 slice, pydicom alone", pydicom_s, slice_s), (series, itk_s, series_s),
            ("gzipped 4-D file, nibabel", nibabel_s, gzip_s))  # fmt: skip
    for name, other, mine in rows:
        print(f"{name:<34}{other * 1e3:>10.2f}ms{mine * 1e3:>10.2f}ms{mine / other:>8.2f}")
    ratios = {"slice_over_pydicom": slice_s / pydicom_s, "series_over_itkreader": series_s / itk_s,
              "gzip_4d_over_nibabel": gzip_s / nibabel_s}  # fmt: skip
    print(json.dumps({name: round(ratio, 3) for name, ratio in ratios.items()}))


if __name__ == "__main__":
    main()
