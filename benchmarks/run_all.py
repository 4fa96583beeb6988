"""Run every benchmark in this folder one after the other and print their last lines as one table.

python benchmarks/run_all.py [--quick]
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
# this file, one that needs 12 GiB, and code that others compare with
LEFT_OUT = {"run_all.py", "paper_size.py", "published_code.py", "official_way.py"}


def last_line(script: Path, options: list[str]) -> dict[str, object]:
    """Run one benchmark, show what it prints, return the JSON object of its last line."""
    print(f"\n== {script.name} {' '.join(options)}", flush=True)
    done = subprocess.run([sys.executable, str(script), *options], stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, flush=True)
    if done.returncode:
        return {"failed": f"exit code {done.returncode}"}
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> int:
    scripts = [path for path in sorted(FOLDER.glob("*.py")) if path.name not in LEFT_OUT]
    results = {path.name: last_line(path, sys.argv[1:]) for path in scripts}
    print("\n" + "=" * 60)
    for name, values in results.items():
        for key, value in values.items():
            print(f"{name:<20} {key:<24} {value}")
    return int(any("failed" in values for values in results.values()))


if __name__ == "__main__":
    sys.exit(main())
