"""Pack a bundle folder as ``dist/<bundle>_v<version>.zip``, the layout that model zoos and MONAI Label unpack.

    python tools/package.py bundle dist

The archive holds one folder, ``msmedcap/``, with everything a user needs and nothing a run left behind. Equal trees
give equal archives: entries are sorted and carry a fixed date.
"""

from __future__ import annotations

import argparse
import json
import sys
import zipfile
from pathlib import Path

NAME = "msmedcap"
LEFT_OUT = {"runs", "__pycache__", "eval"}
DATE = (1980, 1, 1, 0, 0, 0)
METADATA = Path(__file__).resolve().parents[1] / "bundle" / "configs" / "metadata.json"
VERSION = json.loads(METADATA.read_text(encoding="utf-8"))["version"]
"""The project's version; pyproject.toml takes it from here."""


def files_of(bundle: Path) -> list[Path]:
    """Everything to pack, sorted: no caches, no run folders, no hidden files."""
    found = []
    for path in sorted(bundle.rglob("*")):
        parts = path.relative_to(bundle).parts
        hidden = any(part.startswith(".") for part in parts)
        if path.is_file() and not hidden and not LEFT_OUT & set(parts) and path.suffix != ".pyc":
            found.append(path)
    return found


def pack(bundle: Path, output: Path) -> Path:
    """Write the archive and return its path."""
    version = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))["version"]
    output.mkdir(parents=True, exist_ok=True)
    target = output / f"{NAME}_v{version}.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files_of(bundle):
            entry = zipfile.ZipInfo(f"{NAME}/{path.relative_to(bundle).as_posix()}", DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes())
    return target


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="the bundle's folder")
    parser.add_argument("output", type=Path, help="folder of the archive")
    given = parser.parse_args()
    target = pack(given.bundle, given.output)
    print(f"{target}  {target.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
