"""Sources: the kind of a path, by its first bytes, and by its name where they do not tell."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from scripts.errors import InputError
from scripts.reading.dicom.dicomdir import dicomdir_files
from scripts.reading.dicom.file import DicomFile, is_dicom_stream, starts_as_dicom
from scripts.reading.dicom.folder_series import is_series_path, series_files
from scripts.reading.magic import HEAD, archive_kind, is_picture, volume_ending, volume_ending_of
from scripts.reading.volumes import NIBABEL_ENDINGS, TEXT_HEADED, UNMARKED_ENDINGS

PICTURE_ENDINGS = (
    ".png", ".jpg", ".jpeg", ".jpe", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".jp2", ".pgm", ".ppm", ".pbm", ".pnm",
)  # fmt: skip
MAX_FILES = 20_000


@dataclass
class Source:
    """A path that was looked at: ``kind`` is "dicom", "volume" or "picture". Use it in ``with``."""

    kind: str
    path: str
    files: list[DicomFile] = field(default_factory=list)
    skipped: int = 0
    archive: zipfile.ZipFile | None = None

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        if self.archive is not None:
            self.archive.close()


def identify(path: str | Path) -> Source:
    """Look at a file, a folder, or the series of a file (`scripts.reading.dicom.folder_series`).

    Raises:
        InputError: it does not exist, is empty, or is of no known kind.
    """
    path = str(path)
    if is_series_path(path):
        return Source("dicom", path, [DicomFile(file) for file in series_files(path)])
    if not os.path.exists(path):
        raise InputError(f"{path}: there is no such file or folder; check the path")
    if os.path.isdir(path):
        return _folder(path)
    if not os.path.isfile(path):
        raise InputError(f"{path}: is neither a file nor a folder")
    return _file(path)


def files_of(path: str | Path) -> Iterator[str]:
    """Every file and folder that reading a path may open: each may be a link to anywhere, so who lets others name paths
    looks where they lead.

    Headers that name files are not looked into: `scripts.reading.data_files` keeps these below the header's folder, and
    `scripts.reading.dicom.dicomdir` those of a DICOMDIR below its own, which is why all that lies there is given.
    """
    path = str(path)
    folder, name = os.path.split(path)
    if os.path.isdir(path) or "DICOMDIR" in name.upper():
        for below, folders, names in os.walk(path if os.path.isdir(path) else folder):
            yield from (os.path.join(below, member) for member in (*folders, *names))
        return
    yield path
    if name.lower().endswith(UNMARKED_ENDINGS):
        stem = name.lower().removesuffix(".gz")[:-4]
        yield from (
            os.path.join(folder, other) for other in os.listdir(folder or ".") if other.lower().startswith(stem)
        )


def _file(path: str) -> Source:
    name = path.lower()
    if os.path.getsize(path) == 0:
        raise InputError(f"{path}: is empty (0 bytes); copy or export it again")
    try:
        with open(path, "rb") as stream:
            head = stream.read(HEAD)
            stream.seek(0)
            dicom = is_dicom_stream(stream)
    except PermissionError:
        raise InputError(f"{path}: may not be read; check its permissions") from None
    # "DICM" decides even over a TIFF beginning: the preamble may make one file both (PS3.10 section 7.1).
    if dicom and (head[128:132] == b"DICM" or not is_picture(head)):
        listed = dicomdir_files(path)
        return Source("dicom", path, [DicomFile(path)] if listed is None else listed)
    packed = archive_kind(head)
    if packed == "zip":
        return _zip(path)
    if volume_ending(head) or name.endswith(UNMARKED_ENDINGS):
        return Source("volume", path)
    if is_picture(head):
        return Source("picture", path)
    if packed and not (packed == "gzip" and name.endswith(NIBABEL_ENDINGS)):
        raise InputError(
            f"{path}: is packed ({packed}), which is not looked into; unpack it and give the image or folder"
        )
    if name.endswith(NIBABEL_ENDINGS + TEXT_HEADED):  # damaged: its reader says how
        return Source("volume", path)
    if name.endswith(PICTURE_ENDINGS):
        return Source("picture", path)
    if name.endswith((".dcm", ".dicom", ".ima")):
        raise InputError(f"{path}: is named like a DICOM file but is not one; export it again")
    raise InputError(
        f"{path}: is not an image of a known kind; DICOM, NIfTI, MGH, NRRD, MetaImage, Analyze (.hdr), "
        "PNG, JPEG, TIFF, BMP, WebP, GIF, JPEG 2000 and PNM are read"
    )


def _zip(path: str) -> Source:
    """A zip archive with DICOM files in it, read in place: nothing is unpacked to disk."""
    try:
        archive = zipfile.ZipFile(path)
        infos = [info for info in archive.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise InputError(f"{path}: is a damaged zip archive; copy or export it again") from None
    source = Source("dicom", path, archive=archive)
    try:
        if len(infos) > MAX_FILES:
            raise InputError(f"{path}: holds over {MAX_FILES:,} files; give the archive of one study")
        if any(info.flag_bits & 1 for info in infos):
            raise InputError(f"{path}: is encrypted; unpack it first")
        others: list[str] = []
        for info in sorted(infos, key=lambda i: i.filename):
            if _member_is_dicom(archive, info):
                source.files.append(DicomFile(path, info.filename, archive))
            else:
                source.skipped += 1
                others.append(_member_kind(archive, info))
        if not source.files:
            raise InputError(f"{path}: holds no DICOM file{_but(others)}; unpack it and give the image itself")
    except InputError:
        archive.close()
        raise
    return source


def _member_is_dicom(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bool:
    if PurePosixPath(info.filename).name.upper() == "DICOMDIR" or info.file_size == 0:
        return False
    try:
        with archive.open(info) as stream:
            return is_dicom_stream(stream)  # type: ignore[arg-type]
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError):
        return False


def _member_kind(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    """ "archive", "picture or volume" or "" for a member that is not DICOM."""
    try:
        with archive.open(info) as stream:
            head = stream.read(HEAD)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError):
        return ""
    if is_picture(head) or volume_ending(head):
        return "picture or volume"
    return "archive" if archive_kind(head) else ""


def _but(kinds: list[str]) -> str:
    counted = [(kind, kinds.count(kind)) for kind in ("picture or volume", "archive") if kind in kinds]
    words = {"picture or volume": "pictures or volumes", "archive": "other archives"}
    return " but " + " and ".join(f"{count} {words[kind]}" for kind, count in counted) if counted else ""


def _folder(path: str) -> Source:
    """A folder with DICOM files somewhere below, or with exactly one image of another kind."""
    dicom, others, skipped, total = [], [], 0, 0
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            full = os.path.join(folder, name)
            total += 1
            if total > MAX_FILES:
                raise InputError(f"{path}: holds over {MAX_FILES:,} files; give the folder of one study")
            if name.startswith(".") or name.upper() == "DICOMDIR" or not os.path.isfile(full):
                continue
            if starts_as_dicom(full):
                dicom.append(DicomFile(full))
            elif name.lower().endswith(NIBABEL_ENDINGS + TEXT_HEADED + PICTURE_ENDINGS) or _starts_as_volume(full):
                others.append(full)
            else:
                skipped += 1
    if dicom:
        return Source("dicom", path, dicom, skipped + len(others))
    if len(others) == 1:
        return _file(others[0])
    if others:
        raise InputError(f"{path}: holds {len(others)} image files and no DICOM series; give the files one by one")
    raise InputError(f"{path}: holds no image; give a folder with DICOM files, or one image file")


def _starts_as_volume(path: str) -> bool:
    try:
        return bool(volume_ending_of(path))
    except OSError:
        return False
