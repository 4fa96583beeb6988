"""The packaged bundle (``make package``), unpacked where its scripts can be imported from."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path, PurePosixPath

CONFIG = "configs/inference.json"


def open_bundle(path: str | Path, workdir: str | Path) -> Path:
    """The bundle's folder; a zip is unpacked below ``workdir`` first.

    Args:
        path: the zip that ``make package`` writes, the bundle's folder, or a folder that holds one of these, which is
            how MONAI Deploy mounts models.
        workdir: where a zip is unpacked to, once.

    Raises:
        ValueError: there is no bundle at ``path``, or more than one.
    """
    path = Path(path)
    if (path / CONFIG).is_file():
        return path
    found = [path] if path.suffix == ".zip" and path.is_file() else []
    if path.is_dir():
        found = sorted(path.glob("*.zip")) + sorted(folder.parents[1] for folder in path.glob(f"*/{CONFIG}"))
    if not found:
        raise ValueError(f"{path}: is no bundle; give dist/msmedcap_v*.zip (make package) or the bundle's folder")
    if len(found) > 1:
        raise ValueError(f"{path}: holds {len(found)} bundles ({found[0].name}, {found[1].name} ...); give one of them")
    return _unpacked(found[0], Path(workdir)) if found[0].suffix == ".zip" else found[0]


def import_from(bundle: Path) -> None:
    """Put the bundle's ``scripts`` package on the import path."""
    if str(bundle) not in sys.path:
        sys.path.insert(0, str(bundle))


def _unpacked(archive: Path, workdir: Path) -> Path:
    try:
        with zipfile.ZipFile(archive) as file:
            names = [PurePosixPath(name) for name in file.namelist()]
            roots = [name.parents[1] for name in names if name.as_posix().endswith(f"/{CONFIG}")]
            if len(roots) != 1 or any(name.is_absolute() or ".." in name.parts for name in names):
                raise ValueError(f"{archive}: is not a packaged bundle; make it with make package")
            file.extractall(workdir / archive.stem)
    except zipfile.BadZipFile:
        raise ValueError(f"{archive}: is a damaged zip; make it again with make package") from None
    return workdir / archive.stem / roots[0]
