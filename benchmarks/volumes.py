"""Seconds and peak memory of a volume as a case of several views, for each way of choosing slices.

    .venv/bin/python benchmarks/volumes.py [--quick | --smoke]

The volume is made: 512 x 512 x 300 stored values (int16, gzipped NIfTI), slope and intercept in the datalist.
It is read, windowed and letterboxed to 512 x 512, as a data set's worker does it, in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from own_process import apart

RULES = ("middle", "even:8", "informative:8")


def make_volume(path: Path, slices: int) -> None:
    import nibabel as nib

    draw = np.random.default_rng(0)
    rows, columns = np.mgrid[-1:1:512j, -1:1:512j]
    body = (rows**2 + columns**2 < 0.7).astype(np.float32)
    values = np.empty((512, 512, slices), np.int16)
    for number in range(slices):
        hu = np.where(body > 0, draw.normal(40, 30, body.shape), -1000)
        hu[(rows**2 + (columns - 0.3) ** 2) < 0.1 * np.sin(np.pi * number / slices)] = -850
        values[:, :, number] = hu + 1024
    nib.save(nib.Nifti1Image(values, np.diag([0.7, 0.7, 1.0, 1.0])), path)


def prepare(path: str, rule: str) -> dict[str, float]:
    """Read and prepare one case; seconds, views and peak MiB above what the imports take."""
    from monai.transforms import Compose

    from scripts.transforms import Letterboxd, LoadCased, WindowToUnitd

    chain = Compose([LoadCased("image"), WindowToUnitd("image"), Letterboxd("image", size=512)])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started, cpu = time.perf_counter(), time.process_time()
    case = chain({"image": path, "reading": {"slice": rule, "rescale": [1, -1024], "modality": "CT"}})
    seconds, used = time.perf_counter() - started, time.process_time() - cpu
    views = 1 if case["image"].ndim == 3 else len(case["image"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"views": views, "seconds": seconds, "cpu_seconds": used, "mib": peak - before}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="60 slices")
    parser.add_argument("--smoke", action="store_true", help="10 slices, in seconds")
    given = parser.parse_args()
    result: dict[str, float] = {}
    print(f"{'slices':<16}{'views':>7}{'seconds':>10}{'CPU s':>8}{'MiB':>8}")
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "volume.nii.gz"
        make_volume(file, 10 if given.smoke else 60 if given.quick else 300)
        for rule in RULES:
            found = apart(prepare, str(file), rule, forked=given.smoke)
            print(
                f"{rule:<16}{found['views']:>7}{found['seconds']:>10.2f}{found['cpu_seconds']:>8.2f}{found['mib']:>8.0f}"
            )
            key = rule.replace(":", "_")
            result |= {f"{key}_seconds": round(found["seconds"], 2), f"{key}_mib": round(found["mib"])}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
