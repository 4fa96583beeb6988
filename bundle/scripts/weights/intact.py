"""Weight files that know whether they are damaged: a checksum inside them, or in a list beside them.

* What this project writes is *sealed*. A ``.pt`` is a zip archive: its comment, the last 71 bytes of the file, holds
  the SHA-256 of all before. A ``.safetensors`` keeps it in its header, over the file with zeros in that place.
* A folder may hold ``SHA256SUMS``, in the format of ``sha256sum``; ``models/`` of the bundle does. Files in the list
  must be those that it names.
* Zip archives of others carry a CRC-32 of each member, which is computed too.

    python -m scripts.weights.intact bundle/models          # check a folder against its list
    python -m scripts.weights.intact bundle/models --write  # after its weights were replaced on purpose
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import re
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from scripts.atomic import write_atomically, write_text_atomically
from scripts.errors import WeightsError

SUMS = "SHA256SUMS"
SUFFIXES = (".pt", ".safetensors")
_SEAL = re.compile(rb"sha256:([0-9a-f]{64})")
_SEAL_BYTES = 71
_END_OF_ZIP = b"PK\x05\x06"
_END_BYTES = 22
_UNKNOWN = "0" * 64
_HEADER_KEY = "sha256"
_LARGEST_HEADER = 100_000_000  # as safetensors itself has it


def write_sealed(path: str | Path, state: Mapping[str, object]) -> Path:
    """``torch.save``, atomically and sealed.

    Raises:
        OSError: writing failed; what was at ``path`` stays.
    """

    def write(file: IO[bytes]) -> None:
        torch.save(state, file)
        _seal(file)

    return write_atomically(path, write)


def _seal(file: IO[bytes]) -> None:
    """Announce a comment in the zip archive's end record, then append it."""
    end = file.seek(-_END_BYTES, 2)
    if file.read(4) != _END_OF_ZIP:
        raise OSError("the archive that torch wrote has no end record")
    file.seek(end + _END_BYTES - 2)
    file.write(struct.pack("<H", _SEAL_BYTES))
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0, 2)
    file.write(f"sha256:{digest}".encode())


def sealed_safetensors(save: functools.partial[bytes], metadata: Mapping[str, str]) -> bytes:
    """What ``save(metadata=...)`` of safetensors gives, with its own SHA-256 in the metadata."""
    data = save(metadata={**metadata, _HEADER_KEY: _UNKNOWN})
    place = data.index(f'"{_HEADER_KEY}":"{_UNKNOWN}"'.encode()) + len(_HEADER_KEY) + 4
    digest = hashlib.sha256(data).hexdigest().encode()
    return data[:place] + digest + data[place + len(digest) :]


def write_sealed_safetensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Path:
    """Tensors and metadata as safetensors, atomically and sealed.

    Raises:
        OSError: writing failed; what was at ``path`` stays.
    """
    data = sealed_safetensors(functools.partial(save, dict(tensors)), metadata)
    return write_atomically(path, lambda file: file.write(data))


def read_safetensors(path: str | Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a file, which is compared with its checksum first.

    Raises:
        WeightsError: it is not what was written.
        OSError: it is absent.
        safetensors.SafetensorError: it is no such file.
    """
    if Path(path).is_file():
        check_intact(path)
    with safe_open(str(path), framework="pt") as file:
        return dict(file.metadata() or {}), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def check_intact(path: str | Path) -> None:
    """Read a file once and compare it with its checksum, where it has one.

    Raises:
        WeightsError: it is not what was written.
    """
    reason = damage(path)
    if reason:
        raise WeightsError(f"weights file {path} is damaged ({reason}): fetch or copy it again")


def damage(path: str | Path) -> str | None:
    """What is wrong with a file, in words; None where nothing is, or where it bears no checksum."""
    status = Path(path).stat()
    return _damage(str(path), status.st_size, status.st_mtime_ns, _listed(Path(path)))


@functools.lru_cache(maxsize=256)
def _damage(path: str, size: int, modified: int, listed: str | None) -> str | None:
    """Computed once for each state of a file."""
    if listed is not None and sha256_of(path) != listed:
        return f"its SHA-256 is not the one in {SUMS} beside it; if you replaced it on purpose, correct that list"
    if path.endswith(".safetensors"):
        return _damaged_safetensors(Path(path))
    return _damaged_zip(path) if listed is None else None


def _damaged_zip(path: str) -> str | None:
    with open(path, "rb") as file:
        tail = file.seek(max(0, file.seek(0, 2) - _SEAL_BYTES))
        seal = _SEAL.fullmatch(file.read())
        if seal:
            file.seek(0)
            return None if _sha256_of(file, tail) == seal[1].decode() else "it does not match its checksum"
        file.seek(0)
        if file.read(2) != b"PK":
            return None  # no archive: a pickle of PyTorch before 1.6, or nothing that PyTorch reads
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.comment:
                return "its checksum is damaged"
            bad = archive.testzip()
    except Exception as error:  # zipfile meets damage in many ways
        return f"it is no whole archive: {error}"
    return None if bad is None else f"{bad} in it does not match its checksum"


def _damaged_safetensors(path: Path) -> str | None:
    with path.open("rb") as file:
        head = file.read(8)
        length = int.from_bytes(head, "little")
        header = file.read(min(length, _LARGEST_HEADER))
        try:
            about = dict(json.loads(header).get("__metadata__") or {})
        except (ValueError, TypeError, AttributeError):
            return None  # safetensors says so itself
        digest = about.get(_HEADER_KEY)
        if digest is None:
            return "its checksum is damaged" if any(map(_almost_the_key, about)) else None
        blank = header.replace(str(digest).encode(), _UNKNOWN.encode(), 1)
        total = hashlib.sha256(head + blank)
        while chunk := file.read(1 << 20):
            total.update(chunk)
    return None if total.hexdigest() == digest else "it does not match its checksum"


def _almost_the_key(name: str) -> bool:
    """Whether one letter keeps ``name`` from being the key of the checksum."""
    return len(name) == len(_HEADER_KEY) and sum(a != b for a, b in zip(name, _HEADER_KEY, strict=True)) == 1


def _sha256_of(file: IO[bytes], size: int) -> str:
    total = hashlib.sha256()
    while size > 0 and (chunk := file.read(min(size, 1 << 20))):
        total.update(chunk)
        size -= len(chunk)
    return total.hexdigest()


def crc32(path: str | Path) -> int:
    """CRC-32 of a file: notices damage, but no intent. Computed once for each state of a file."""
    status = Path(path).stat()
    return _crc32(str(path), status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _crc32(path: str, size: int, modified: int) -> int:
    total = 0
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            total = zlib.crc32(chunk, total)
    return total


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _listed(path: Path) -> str | None:
    """The SHA-256 that the list beside a file has for it; None without a list or a line."""
    return _sums(path.parent).get(path.name)


def _sums(folder: Path) -> dict[str, str]:
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise WeightsError(f"{folder / SUMS} cannot be read ({error}): fetch it again") from None
    found = {}
    for line in filter(None, lines):
        digest, _, name = line.partition("  ")
        if not re.fullmatch(r"[0-9a-f]{64}", digest) or not name:
            raise WeightsError(f"{folder / SUMS} is damaged at {line[:80]!r}: fetch it again")
        found[name] = digest
    return found


def write_sums(folder: str | Path) -> Path:
    """List the weight files of a folder with their SHA-256."""
    files = sorted(file for file in Path(folder).iterdir() if file.suffix in SUFFIXES)
    return write_text_atomically(Path(folder) / SUMS, "".join(f"{sha256_of(file)}  {file.name}\n" for file in files))


def refresh_sums(files: Iterable[str | Path]) -> None:
    """List folders anew whose files were just written, where they have a list."""
    for folder in {Path(file).parent for file in files}:
        if (folder / SUMS).is_file():
            write_sums(folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.weights.intact", description="Checks weight files against the list beside them."
    )
    parser.add_argument("folder", type=Path, help="whose weight files are checked against its SHA256SUMS")
    parser.add_argument("--write", action="store_true", help="list the files as they are now")
    given = parser.parse_args(arguments)
    try:
        if given.write:
            print(write_sums(given.folder))
        names = sorted(_sums(given.folder))
        for name in names:
            if not (given.folder / name).is_file():
                raise WeightsError(f"{given.folder / name} is listed in {SUMS} and absent: fetch it again")
            check_intact(given.folder / name)
    except (WeightsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{len(names)} files are as listed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
