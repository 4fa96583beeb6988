"""Starts the captioning bundle's worker in the Python that runs this file, which needs the standard library only.

    python worker_start.py --bundle BUNDLE [--packages FOLDER]

``--packages`` is a folder of installed packages that come before the Python's own. Requests are lines on standard
input, replies lines on standard output.
"""

from __future__ import annotations

import argparse
import os
import runpy
import sys
from pathlib import Path

WORKERS = {"scripts.commands.worker": "scripts/commands/worker.py"}
"""Module of the worker -> its file in the bundle; the newest first."""


def worker_module(bundle: Path) -> str | None:
    """The module of a bundle's worker; None where the folder is not the bundle."""
    return next((name for name, file in WORKERS.items() if (bundle / file).is_file()), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--packages", type=Path)
    given = parser.parse_args()
    module = worker_module(given.bundle)
    if module is None:
        sys.exit(f"{given.bundle} is not the captioning bundle: choose the folder with configs and scripts")
    paths = [str(given.bundle), *([str(given.packages)] if given.packages else [])]
    own = str(Path(__file__).resolve().parent)
    sys.path[:] = paths + [path for path in sys.path if path != own]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)  # for processes that the worker starts
    sys.argv = [module, "--bundle", str(given.bundle)]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
