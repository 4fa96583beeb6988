"""Uploads on disk: each in a folder of its own, under names that cannot lead out of it."""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import tempfile
import time
import zipfile
import zlib
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import IO

from scripts.commands.service.refusals import RefusedError
from scripts.data.datalist import inference_items
from scripts.errors import InputError

MAX_FILES = 20_000
MAX_KEPT = 4 * 2**30
MAX_IDLE = 3_600.0
CHUNK = 2**20


def safe_name(name: str) -> PurePosixPath:
    """A client's file name, folders included, as one that stays below a folder."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    clean = [re.sub(r"[^\w. +()\[\]-]+", "_", part)[-120:].lstrip(".") or "_" for part in parts[-12:]]
    return PurePosixPath(*(clean or ["image"]))


@dataclass
class Upload:
    """Files that came together.

    Attributes:
        folder: where they lie.
        token: names it to its owner; nobody can guess it.
        size: bytes.
        used: when somebody last asked for it.
    """

    folder: Path
    token: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    size: int = 0
    files: int = 0
    used: float = field(default_factory=time.monotonic)

    def add(self, name: str, stream: IO[bytes]) -> None:
        """Store one file, an archive's members each on their own.

        Raises:
            RefusedError: it is too much.
        """
        target = self.folder / safe_name(name)
        self._write(target, stream)
        if zipfile.is_zipfile(target) and target.suffix.lower() == ".zip":
            self._unpack(target)

    def cases(self) -> list[tuple[str, str]]:
        """(name, path) of each case among the files: a picture, a volume, a DICOM series.

        Raises:
            RefusedError: there is no image among them.
        """
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        try:
            found = [str(files[0])] if len(files) == 1 else [item["image"] for item in inference_items(self.folder)]
        except InputError:
            raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "no image is among the files that were sent") from None
        return [(path.removeprefix(f"{self.folder}/").removesuffix("::series"), path) for path in found]

    def _write(self, target: Path, stream: IO[bytes]) -> None:
        self.files += 1
        if self.files > MAX_FILES:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"over {MAX_FILES:,} files: send fewer at once")
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            while chunk := stream.read(CHUNK):
                self.size += len(chunk)
                if self.size > MAX_KEPT // 2:
                    raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "more than 2 GiB: send fewer at once")
                file.write(chunk)

    def _unpack(self, path: Path) -> None:
        try:
            with zipfile.ZipFile(path) as archive:
                if sum(info.file_size for info in archive.infolist()) > MAX_KEPT // 2:
                    raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "more than 2 GiB: send fewer at once")
                for info in archive.infolist():
                    if not info.is_dir() and not info.flag_bits & 1:
                        with archive.open(info) as member:
                            self._write(path.with_suffix("") / safe_name(info.filename), member)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError):
            raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{path.name} is a damaged zip archive") from None
        path.unlink()


class Uploads:
    """Uploads of a service: kept while they are used, gone with it at the latest."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="msmedcap_", ignore_cleanup_errors=True)
        self._kept: dict[str, Upload] = {}

    def new(self) -> Upload:
        self.sweep()
        upload = Upload(Path(tempfile.mkdtemp(dir=self._folder.name)))
        self._kept[upload.token] = upload
        return upload

    def get(self, token: str) -> Upload:
        """Raises RefusedError: there is none of that name."""
        if token not in self._kept:
            raise RefusedError(HTTPStatus.NOT_FOUND, "there is no such upload: send the files again")
        self._kept[token].used = time.monotonic()
        return self._kept[token]

    def drop(self, token: str) -> None:
        upload = self._kept.pop(token, None)
        if upload is not None:
            shutil.rmtree(upload.folder, ignore_errors=True)

    def sweep(self) -> None:
        """Drop what nobody used for an hour, and the oldest while all take more than `MAX_KEPT`."""
        oldest = sorted(self._kept.values(), key=lambda upload: upload.used)
        total = sum(upload.size for upload in oldest)
        for upload in oldest:
            if total > MAX_KEPT or time.monotonic() - upload.used > MAX_IDLE:
                total -= upload.size
                self.drop(upload.token)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._folder.cleanup()
        self._kept.clear()
