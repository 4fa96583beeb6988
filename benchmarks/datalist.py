"""A datalist of a million rows: made from a table, checked, split and gone through; rows a second and peak memory.

    .venv/bin/python benchmarks/datalist.py [--quick]

The rows are made, their images repeat (1,000 files). Each step runs in a process of its own, so that its peak memory
is its own; what importing the package takes is part of it.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

BUNDLE = Path(__file__).resolve().parents[1] / "bundle"
sys.path.insert(0, str(BUNDLE))
IMAGES = 1000
STEPS = ("build", "check", "iterate", "shuffled")


def make_table(folder: Path, rows: int) -> None:
    """A CSV with image, caption and patient (four rows each), and the images."""
    (folder / "images").mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32), dtype=np.uint8)
    for number in range(IMAGES):
        Image.fromarray(np.roll(pixels, number)).save(folder / "images" / f"{number:04d}.png")
    with (folder / "table.csv").open("w") as file:
        file.write("image,caption,patient_id\n")
        for row in range(rows):
            text = (
                f"Axial CT of the chest at level {row % 977} showing a nodule of {row % 31} mm in the left lower lobe."
            )
            file.write(f"images/{row % IMAGES:04d}.png,{text},p{row // 4:07d}\n")


def run_step(step: str, folder: Path) -> int:
    """One step; returns the rows it went through."""
    from scripts.data import load_datalist

    file = folder / "datalist.jsonl"
    if step == "build":
        from scripts.data.builders import NamedColumns, build_datalist, generic_layout

        layout = generic_layout("table", folder, NamedColumns(table="table.csv"))
        return sum(build_datalist(layout, folder, file).sections.values())
    if step == "check":
        from scripts.data.check import check_datalist

        result = check_datalist(file, folder)
        assert not result.problems, result.problems
        return sum(result.sections.values())
    items = load_datalist(file, section="training", dataset_dir=folder, check_files=False)
    order = np.random.default_rng(0).permutation(len(items)) if step == "shuffled" else range(len(items))
    return sum(bool(items[int(number)]["caption"]) for number in order)


def measured(step: str, folder: Path) -> dict[str, float]:
    """Run a step in a process of its own: rows, seconds (without imports), peak MiB."""
    command = [sys.executable, __file__, "--step", step, "--folder", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", "--quick", dest="quick", action="store_true", help="50,000 rows")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        import scripts.data  # noqa: F401

        started, before = time.perf_counter(), time.process_time()
        rows = run_step(given.step, given.folder)
        seconds, peak = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        cpu = time.process_time() - before
        print(json.dumps({"rows": rows, "seconds": seconds, "peak_mib": peak, "cpu_seconds": cpu}))
        return
    rows = 50_000 if given.quick else 1_000_000
    with tempfile.TemporaryDirectory() as name:
        make_table(Path(name), rows)
        found = {step: measured(step, Path(name)) for step in STEPS}
    print(f"{'step':<12}{'rows':>12}{'seconds':>10}{'CPU s':>10}{'rows/s':>12}{'peak MiB':>10}")
    result: dict[str, float] = {"rows": rows}
    for step, what in found.items():
        rate = what["rows"] / what["seconds"]
        print(f"{step:<12}{what['rows']:>12,.0f}{what['seconds']:>10.1f}{what['cpu_seconds']:>10.1f}{rate:>12,.0f}"
              f"{what['peak_mib']:>10.0f}")  # fmt: skip
        result |= {f"{step}_seconds": round(what["seconds"], 2), f"{step}_cpu_seconds": round(what["cpu_seconds"], 2),
                   f"{step}_rows_per_second": round(rate), f"{step}_peak_mib": round(what["peak_mib"])}  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    main()
