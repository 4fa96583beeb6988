"""Source of the captioning bundle: a folder, a zip file, or an address."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import shutil
import stat
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path, PurePosixPath

from ..captioners.worker_start import worker_module
from ..errors import CaptioningError
from ..jobs import Progress
from ..words import _

CHUNK = 1 << 20
LARGEST = 16 << 30
"""Bytes that an unpacked bundle may have: the paper's weights fit, a zip bomb does not."""
SECONDS = 60


def is_bundle(folder: Path) -> bool:
    """Whether a folder has what the captioner needs of its bundle."""
    return (folder / "configs" / "metadata.json").is_file() and worker_module(folder) is not None


def bundle_in(folder: Path) -> Path | None:
    """The bundle in a folder or in the only folder in it."""
    inner = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    return next((path for path in (folder, *inner) if is_bundle(path)), None)


def requirements_of(bundle: Path) -> list[str]:
    """What pip has to install for a bundle, as its ``configs/metadata.json`` pins it.

    Raises:
        CaptioningError: the file cannot be read.
    """
    path = bundle / "configs" / "metadata.json"
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        named = {"torch": told["pytorch_version"], "monai": told["monai_version"], "numpy": told["numpy_version"]}
        named.update(told.get("required_packages_version", {}))
    except (OSError, ValueError, KeyError, TypeError):
        raise CaptioningError(_("{file} does not say which packages it needs").format(file=path)) from None
    return [f"{name}=={version}" for name, version in named.items()]


def fetch_bundle(source: str, folder: Path, progress: Progress) -> Path:
    """The bundle that ``source`` names; a zip is unpacked into ``folder``, a folder is used where it is.

    Args:
        source: path of a folder or zip file, or an address, with ``#sha256=...`` behind it where the sum is known.
        folder: where to unpack; anything in it is replaced, and only once the new one is whole.
        progress: told what is done; cancels.

    Raises:
        CaptioningError: there is no bundle, or it cannot be fetched.
    """
    source = source.strip()
    if not source:
        raise CaptioningError(_("name the bundle first: its zip file, its folder or its address"))
    if "://" in source:
        with_sum = urllib.parse.urldefrag(source)
        download = folder.with_name(folder.name + ".download")
        try:
            _download(with_sum.url, download, progress, with_sum.fragment)
            return _unpacked(download, folder, progress, with_sum.url)
        finally:
            download.unlink(missing_ok=True)
    path = Path(source).expanduser()
    if path.is_dir():
        found = bundle_in(path)
        if found is None:
            raise CaptioningError(
                _("{bundle} is not the captioning bundle: choose the folder with configs and scripts").format(
                    bundle=path
                )
            )
        return found
    if not path.is_file():
        raise CaptioningError(_("{path} does not exist: choose the bundle's zip file or folder").format(path=path))
    return _unpacked(path, folder, progress, str(path))


def _download(url: str, target: Path, progress: Progress, fragment: str) -> None:
    if not _may_fetch(url):
        raise CaptioningError(_("{url} is not fetched: the address of a bundle begins with https://").format(url=url))
    digest, done = hashlib.sha256(), 0
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as reply, target.open("wb") as file:
            size = int(reply.headers.get("Content-Length") or 0)
            while chunk := reply.read(CHUNK):
                progress.check()
                file.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                progress.fraction = done / size if size else None
                progress.text = _("fetching the bundle: {done} MB").format(done=done >> 20)
    except (OSError, urllib.error.URLError, ValueError) as error:
        refused = isinstance(error, urllib.error.HTTPError)
        reason = f"HTTP {error.code}" if refused else getattr(error, "reason", None) or error
        raise CaptioningError(_("{url} cannot be fetched ({reason})").format(url=url, reason=reason)) from None
    if size and done != size:
        raise CaptioningError(_("{url} broke off at {done} of {size} bytes: try again").format(
            url=url, done=done, size=size))  # fmt: skip
    if fragment.startswith("sha256=") and fragment[7:].lower() != digest.hexdigest():
        raise CaptioningError(_("{url} has another SHA-256 than the one behind it: not used").format(url=url))


def _may_fetch(url: str) -> bool:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https":
        return True
    try:
        return parts.scheme == "http" and ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.scheme == "http" and parts.hostname == "localhost"


def _unpacked(archive: Path, folder: Path, progress: Progress, name: str) -> Path:
    """Unpack beside ``folder`` and put it in place in one step."""
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            _check_members(opened, name)
            members = opened.infolist()
            for number, member in enumerate(members):
                progress.check()
                progress.text, progress.fraction = _("unpacking the bundle"), number / len(members)
                opened.extract(member, fresh)
        if bundle_in(fresh) is None:
            raise CaptioningError(_("{name} does not hold the captioning bundle").format(name=name))
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    except (zipfile.BadZipFile, EOFError):
        raise CaptioningError(_("{name} is not a whole zip file").format(name=name)) from None
    except OSError as error:
        raise CaptioningError(
            _("{folder} cannot be written ({reason})").format(folder=folder, reason=error.strerror)
        ) from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    found = bundle_in(folder)
    assert found is not None
    return found


def _check_members(archive: zipfile.ZipFile, name: str) -> None:
    if sum(member.file_size for member in archive.infolist()) > LARGEST:
        raise CaptioningError(_("{name} is larger than any bundle: not unpacked").format(name=name))
    for member in archive.infolist():
        path = PurePosixPath(member.filename.replace("\\", "/"))
        leads_out = path.is_absolute() or ".." in path.parts or ":" in member.filename
        if leads_out or stat.S_ISLNK(member.external_attr >> 16):
            raise CaptioningError(
                _("{name} holds {member}, which leads out of it: not unpacked").format(name=name, member=path)
            )
