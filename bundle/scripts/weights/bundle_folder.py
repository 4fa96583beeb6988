"""A bundle's folder, given as a folder, as the zip of `make package`, or as a name on the Hugging Face hub."""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
from pathlib import Path

from scripts.errors import InputError, WeightsError
from scripts.weights.intact import sha256_of
from scripts.weights.starter import cache_folder

_CONFIG = "configs/inference.json"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
_LARGEST = 8 << 30  # bytes that an archive may unpack to


def bundle_folder(source: str | Path) -> Path:
    """The folder of a bundle, which is unpacked or fetched where it has to be, once.

    A bundle's configs can run code: take one from somebody whom you trust, as any program.

    Args:
        source: a folder; a ``.zip`` that holds one bundle; or a hub name, ``owner/name`` or ``owner/name@revision``.
            What exists on the disk comes before the hub.

    Raises:
        InputError: nothing of that name is there, or it holds no bundle.
        WeightsError: the hub cannot be reached, or has no such repository.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    if path.is_file():
        return _unpacked(path)
    if _HUB_NAME.fullmatch(str(source)):
        return _fetched(str(source))
    raise InputError(f"bundle {source} does not exist: give a bundle's folder, its .zip, or a hub name as owner/name")


def _root_in(folder: Path, source: str | Path) -> Path:
    """The bundle in a folder, or in the only folder of it, as archives have it."""
    for root in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
        if (root / _CONFIG).is_file():
            return root
    raise InputError(f"{source} holds no bundle: {_CONFIG} is not in it; `make package` writes one that has it")


def _unpacked(archive: Path) -> Path:
    """The bundle of an archive, kept in the cache under the archive's SHA-256."""
    try:
        target = cache_folder() / "bundles" / sha256_of(archive)[:16]
        if not target.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".unpack-", dir=target.parent) as temporary:
                whole = Path(temporary) / "whole"
                _extract(archive, whole)
                _root_in(whole, archive)
                _move(whole, target)
    except zipfile.BadZipFile as error:
        raise InputError(
            f"{archive} is no zip file, or is damaged ({error}): give the one that `make package` wrote"
        ) from error
    except OSError as error:
        raise InputError(
            f"{archive} cannot be unpacked ({error.strerror or error}): free space, or name a writable folder in "
            "MSMEDCAP_CACHE"
        ) from error
    return _root_in(target, archive)


def _extract(archive: Path, folder: Path) -> None:
    """Unpack below ``folder``; zipfile takes ``..`` and drives out of names and writes links as plain files."""
    with zipfile.ZipFile(archive) as files:
        size = sum(entry.file_size for entry in files.infolist())
        if size > _LARGEST:
            raise InputError(f"{archive} would unpack to {size >> 30} GiB: no bundle is that large")
        files.extractall(folder)


def _move(whole: Path, target: Path) -> None:
    try:
        whole.rename(target)
    except OSError:
        if not target.is_dir():  # else another process was first
            shutil.move(str(whole), str(target))


def _fetched(name: str) -> Path:
    from huggingface_hub import snapshot_download

    repository, _, revision = name.partition("@")
    try:
        folder = snapshot_download(repository, revision=revision or None)
    except Exception as error:  # noqa: BLE001  the hub's client has a dozen, and so has its network
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(
            f"bundle {name} is neither on this disk nor to be had from the hub ({reason}): give a folder or .zip, or "
            "leave HF_HUB_OFFLINE unset where there is a network"
        ) from error
    return _root_in(Path(folder), name)
