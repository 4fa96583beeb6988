"""Pack a bundle folder as ``dist/<bundle>_v<version>.zip``, the layout that model zoos and MONAI Label unpack.

    python tools/package.py bundle dist

The archive holds one folder, ``msmedcap/``, with everything a user needs and nothing a run left behind. The checkpoint,
which the repository keeps in files of at most 25 MB, is one whole ``models/model.pt`` in it: MONAI and MONAI Label
read no other file. Equal trees give equal archives: entries are sorted and carry a fixed date.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
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


def copy_bundle(bundle: Path, target: Path) -> Path:
    """Copy what is to be packed into the folder ``target``, the checkpoint as one file; returns ``target``.

    The lists of weights that lie beside it, of checksums and of what the calibration was fitted for, follow.

    Raises:
        WeightsError: a file of the checkpoint is missing or damaged.
    """
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bundle"))
    from scripts.weights.intact import SUMS, write_sealed, write_sums
    from scripts.weights.loading import read_state, shards_of, weights_sha256

    model = bundle / "models" / "model.pt"
    shards = shards_of(model)
    for path in files_of(bundle):
        if path not in shards:
            copy = target / path.relative_to(bundle)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    whole = write_sealed(target / "models" / "model.pt", read_state(model))
    calibration = target / "models" / "calibration.json"
    fitted = json.loads(calibration.read_text(encoding="utf-8"))
    if weights_sha256(model).items() <= fitted["weights"].items():
        kept = {name: value for name, value in fitted["weights"].items() if name not in weights_sha256(model)}
        fitted["weights"] = weights_sha256(whole) | kept
        calibration.write_text(json.dumps(fitted, indent=2) + "\n", encoding="utf-8")
    (target / "models" / SUMS).unlink(missing_ok=True)
    write_sums(target / "models")
    return target


def archive_name(bundle: Path) -> str:
    """``msmedcap_v<version>.zip``, by which MONAI tells name and version."""
    version = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))["version"]
    return f"{NAME}_v{version}.zip"


def pack(bundle: Path, output: Path) -> Path:
    """Write the archive and return its path."""
    output.mkdir(parents=True, exist_ok=True)
    target = output / archive_name(bundle)
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        whole = copy_bundle(bundle, Path(folder))
        for path in files_of(whole):
            entry = zipfile.ZipInfo(f"{NAME}/{path.relative_to(whole).as_posix()}", DATE)
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
