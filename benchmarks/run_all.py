"""Run every benchmark in this folder one after the other and print their last lines as one table.

python benchmarks/run_all.py [--quick]
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
# this file, one that needs 12 GiB, one that another benchmark starts, one that makes pictures, and one that takes hours
LEFT_OUT = {"run_all.py", "paper_size.py", "starter_captions.py", "strange_pictures.py", "soak.py"}


def benchmarks() -> list[Path]:
    """The programs of this folder; files without a ``main`` are parts of them."""
    programs = [path for path in sorted(FOLDER.glob("*.py")) if "__main__" in path.read_text(encoding="utf-8")]
    return [path for path in programs if path.name not in LEFT_OUT]


def last_line(script: Path, options: list[str]) -> dict[str, object]:
    """Run one benchmark, show what it prints, return the JSON object of its last line."""
    print(f"\n== {script.name} {' '.join(options)}", flush=True)
    done = subprocess.run([sys.executable, str(script), *options], stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, flush=True)
    if done.returncode:
        return {"failed": f"exit code {done.returncode}"}
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> int:
    results = {path.name: last_line(path, sys.argv[1:]) for path in benchmarks()}
    print("\n" + "=" * 60)
    for name, values in results.items():
        for key, value in values.items():
            print(f"{name:<20} {key:<24} {value}")
    return int(any("failed" in values for values in results.values()))


if __name__ == "__main__":
    sys.exit(main())
