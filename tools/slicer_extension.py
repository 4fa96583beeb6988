"""Lays the Slicer extension out as a repository of its own, the form in which Slicer's Extensions Index takes one.

.venv/bin/python tools/slicer_extension.py https://github.com/NAME/SlicerImageCaptioning FOLDER

Copies ``integrations/slicer/ImageCaptioning`` and writes the repository's address where ``OWNER`` stands. What is left
to a person: push the folder as branch ``main``, give the repository the topic ``3d-slicer-extension``, and propose its
``ImageCaptioning.json`` to the index.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from pathlib import Path

EXTENSION = Path(__file__).resolve().parents[1] / "integrations" / "slicer" / "ImageCaptioning"
ADDRESS = re.compile(r"https://github\.com/([A-Za-z0-9-]+)/(Slicer[A-Za-z0-9_-]+)")
TEXTS = {".txt", ".json", ".md", ".py"}


def publish(address: str, folder: Path) -> None:
    """Write the repository's files into a folder that does not exist yet."""
    found = ADDRESS.fullmatch(address.rstrip("/").removesuffix(".git"))
    if found is None:
        sys.exit(f"{address}: give https://github.com/NAME/SlicerImageCaptioning, a name that begins with Slicer")
    if folder.exists():
        sys.exit(f"{folder} exists: name a new folder")
    shutil.copytree(EXTENSION, folder, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    for path in sorted(folder.rglob("*")):
        if path.suffix in TEXTS and path.name != "LICENSE.txt":
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace("OWNER/SlicerImageCaptioning", f"{found[1]}/{found[2]}"), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", help="https://github.com/NAME/SlicerImageCaptioning")
    parser.add_argument("folder", type=Path, help="a new folder")
    given = parser.parse_args()
    publish(given.address, given.folder)
    print(f"{given.folder}: push it as branch 'main' of {given.address}")
