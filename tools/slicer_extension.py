"""Lays the Slicer extension out as a repository of its own, the form in which Slicer's Extensions Index takes one.

.venv/bin/python tools/slicer_extension.py https://github.com/NAME/SlicerImageCaptioning FOLDER
.venv/bin/python tools/slicer_extension.py --check FOLDER

Copies ``integrations/slicer/ImageCaptioning`` and writes the repository's address, its home, wherever it is named: the
sources have ``OWNER`` or nothing there. ``--check`` says what keeps a folder from being that repository. What is left
to a person: push the folder as branch ``main``, give the repository the topic ``3d-slicer-extension``, and propose its
``ImageCaptioning.json`` to the index.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from pathlib import Path

EXTENSION = Path(__file__).resolve().parents[1] / "integrations" / "slicer" / "ImageCaptioning"
ADDRESS = re.compile(r"https://github\.com/([A-Za-z0-9-]+)/(Slicer[A-Za-z0-9_-]+)")
BRANCH = "main"
DESCRIPTION, CMAKE, MODULE = "ImageCaptioning.json", "CMakeLists.txt", "ImageCaptioning/ImageCaptioning.py"
NO_HOME = 'HOME = ""'


def publish(address: str, folder: Path) -> None:
    """Write the repository's files into a folder that does not exist yet."""
    home = address.rstrip("/").removesuffix(".git")
    found = ADDRESS.fullmatch(home)
    if found is None:
        sys.exit(f"{address}: give https://github.com/NAME/SlicerImageCaptioning, a name that begins with Slicer")
    if folder.exists():
        sys.exit(f"{folder} exists: name a new folder")
    shutil.copytree(EXTENSION, folder, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    for name in (DESCRIPTION, CMAKE):
        _replace(folder / name, "OWNER/SlicerImageCaptioning", f"{found[1]}/{found[2]}")
    _replace(folder / MODULE, NO_HOME, f'HOME = "{home}"')


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    if old not in text:
        sys.exit(f"{path} does not have {old!r}: this tool and the extension do not fit")
    path.write_text(text.replace(old, new), encoding="utf-8")


def faults(folder: Path) -> list[str]:
    """What keeps a folder from being the extension's repository, one sentence each."""
    told = dict(re.findall(r'set\s*\((EXTENSION_\w+)\s*"([^"]+)"[ ]*\)', (folder / CMAKE).read_text(encoding="utf-8")))
    home = told.get("EXTENSION_HOMEPAGE", "")
    found = ADDRESS.fullmatch(home)
    if found is None or found[1] == "OWNER":
        return [f"{home or CMAKE} is no home yet: lay the extension out with the address of its repository"]
    said = []
    if json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))["scm_url"] != f"{home}.git":
        said.append(f"{DESCRIPTION} names another repository than {home}")
    if f'HOME = "{home}"' not in (folder / MODULE).read_text(encoding="utf-8"):
        said.append(f"{MODULE} links to another page than {home}")
    raw = f"https://raw.githubusercontent.com/{found[1]}/{found[2]}/{BRANCH}/"
    for address in (told["EXTENSION_ICONURL"], *told["EXTENSION_SCREENSHOTURLS"].split()):
        if not address.startswith(raw) or not (folder / address.removeprefix(raw)).is_file():
            said.append(f"{address} is no picture of this repository")
    return said


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", nargs="?", help="https://github.com/NAME/SlicerImageCaptioning; not with --check")
    parser.add_argument("folder", type=Path, help="a new folder; with --check the one that is there")
    parser.add_argument("--check", action="store_true", help="only judge a folder that was laid out before")
    given = parser.parse_args()
    if bool(given.address) == given.check:
        parser.error("give an address and a folder, or --check and a folder")
    folder = given.folder
    if not given.check:
        publish(given.address, folder)
    said = faults(folder)
    print("\n".join(said) or f"{folder}: fit to be pushed as branch '{BRANCH}'")
    return int(bool(said))


if __name__ == "__main__":
    sys.exit(main())
