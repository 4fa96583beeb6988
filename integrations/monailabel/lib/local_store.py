"""A folder of studies: pictures, volumes, DICOM files and folders that hold one DICOM series, at any depth."""

from __future__ import annotations

import filecmp
import functools
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastore

from scripts.atomic import write_atomically
from scripts.predictor import InputError
from scripts.reading.data_files import refuse_detached
from scripts.reading.dicom.kinds import NO_IMAGE, kind_of
from scripts.reading.sources import files_of

from .caption_store import STATE, CaptionStore, checked_id
from .labels import checked_info

ENDINGS = (
    ".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr", ".dcm", ".dicom", ".ima", ".zip", ".png", ".jpg",
    ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".jp2",
)  # fmt: skip
LABEL_ENDING = ".json"
REPORT = "-"
"""In place of a series: DICOM that holds no image, such as a report."""


class LocalCaptionStore(CaptionStore, LocalDatastore):
    """``studies`` as MONAI Label's datastore.

    An image's id is its path below the folder without its ending (with it, where two files differ in nothing else); a
    DICOM series is the folder that holds it.

    Args:
        folder: the studies.
        auto_reload: watch the folder for new files.
    """

    def __init__(self, folder: str | Path, *, auto_reload: bool = True) -> None:
        self._thread_lock = threading.RLock()
        patterns = [f"*{ending}" for ending in (*ENDINGS, LABEL_ENDING)]
        super().__init__(str(folder), extensions=patterns, auto_reload=auto_reload)
        if auto_reload and hasattr(self, "_handler"):
            self._handler.on_moved = lambda event: self._init_from_datastore_file()

    def _to_id(self, file: str) -> tuple[str, str]:
        ending = next((e for e in (*ENDINGS, LABEL_ENDING) if file.lower().endswith(e)), "")
        ending = file[len(file) - len(ending) :]
        stem = file.removesuffix(ending)
        known = self._datastore.objects.get(stem)
        if known is not None and ending.lower() != LABEL_ENDING and known.image.ext != ending:
            return file, ""
        return stem, ending

    def _list_files(self, path: str, patterns: Any) -> dict[str, str]:
        """Images below ``path``; labels where ``path`` is a folder of labels."""
        root = Path(path)
        if Path(self._datastore.image_path()).resolve() != root.resolve():
            return {name: name for name in sorted(_below(root, (LABEL_ENDING,)))}
        labels = Path(self._datastore.label_path(None)).resolve()
        return {name: name for name in _images(root, {labels, root.resolve() / STATE})}

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Store an uploaded image, whole or not at all.

        Raises:
            InputError: it is no image by its name, its voxels lie in another file, its id would lie outside the
                folder, or another image has that id.
        """
        if not image_filename.lower().endswith(ENDINGS):
            ending = Path(image_filename).suffix or "no ending"
            raise InputError(
                f"{image_id or 'the upload'}: is no image by its name ({ending}); {', '.join(ENDINGS)} are"
            )
        try:
            refuse_detached(image_filename)
        except InputError as error:
            raise InputError(str(error).replace(image_filename, image_id or "the upload")) from error
        with self._exclusive():
            stem, ending = self._to_id(Path(image_filename).name)
            image_id = checked_id(image_id or stem)
            there = self.get_image_uri(image_id)
            if there and not (Path(there).is_file() and filecmp.cmp(there, image_filename, shallow=False)):
                raise InputError(f"image id {image_id!r} is taken by another image; upload under another id")
            if not there:
                self._keep_image(image_id, ending, image_filename, image_info)
            return image_id

    def _keep_image(self, image_id: str, ending: str, source: str, info: dict[str, Any]) -> None:
        path = Path(self._datastore.image_path()) / f"{image_id}{ending}"
        if not path.parent.resolve().is_relative_to(self.folder.resolve()):
            raise InputError(f"image id {image_id!r} leads through a link out of the studies; give another")
        with open(source, "rb") as sent:
            write_atomically(path, lambda file: shutil.copyfileobj(sent, file), staging=self.state_folder)
        about = {**checked_info(info or {}), "ts": int(time.time()), "name": path.name}
        self._datastore.objects[image_id] = ImageLabelModel(image=DataModel(info=about, ext=ending))
        self._update_datastore_file()

    def get_image_uri(self, image_id: str) -> str:
        """Path of an image; ``""`` where there is none."""
        if image_id not in self._datastore.objects:
            self._init_from_datastore_file()
        path = super().get_image_uri(image_id)
        return path if not path or self.inside(path) else ""

    def inside(self, path: str | Path) -> bool:
        """Whether a path, and all that is read with it, lies in the studies folder, links followed."""
        root = self.folder.resolve()
        whole = Path(path).resolve().is_relative_to(root)
        return whole and all(Path(file).resolve().is_relative_to(root) for file in files_of(path))

    def id_of(self, name: str) -> str:
        """Id of what :meth:`find` finds by another name, such as the file's; the name itself where it has none."""
        if name in self._datastore.objects:
            return name
        path = Path(self.find(name))
        relative = path.relative_to(self.folder.resolve()).as_posix() if self.inside(path) else name
        return relative if relative in self._datastore.objects else self._to_id(relative)[0]

    def find(self, name: str) -> str:
        """Path of what a client calls an image: its id, its file name, or a path inside the studies; ``""`` if none."""
        path = self.get_image_uri(name)
        if path:
            return path
        given = Path(name)
        given = given if given.is_absolute() else self.folder / given
        try:
            usable = given.exists() and given.resolve() != self.folder.resolve() and self.inside(given)
            relative = given.resolve().relative_to(self.folder.resolve()) if usable else None
        except (OSError, ValueError):  # a name that is no path at all, or one too long
            return ""
        if relative is None or STATE in relative.parts:
            return ""
        checked_id(str(relative))
        return str(given.resolve())


def _below(root: Path, endings: tuple[str, ...]) -> list[str]:
    return [
        os.path.relpath(os.path.join(folder, name), root)
        for folder, _, names in os.walk(root)
        for name in names
        if name.lower().endswith(endings)
    ]


def _images(root: Path, left_out: set[Path]) -> list[str]:
    """Relative paths of files that are images by name or DICOM images by content, and of folders with one series."""
    found = []
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        folders[:] = sorted(n for n in folders if not n.startswith(".") and (here / n).resolve() not in left_out)
        series = {name: _series_of(here / name) for name in sorted(names) if not name.startswith(".")}
        if here != root and _is_series(list(series.values())):
            found.append(here.relative_to(root).as_posix())
            continue
        images = [n for n, uid in series.items() if uid != REPORT and (uid or n.lower().endswith(ENDINGS))]
        found += [(here / name).relative_to(root).as_posix() for name in images]
    return found


def _is_series(uids: list[str]) -> bool:
    """Whether two files or more of a folder are DICOM images, all of one series."""
    images = [uid for uid in uids if uid not in ("", REPORT)]
    return len(images) > 1 and len(set(images)) == 1


def _series_of(path: Path) -> str:
    try:
        return _series(str(path), path.stat().st_mtime_ns)
    except OSError:  # a link to nothing
        return ""


@functools.lru_cache(maxsize=100_000)
def _series(path: str, modified: int) -> str:
    """SeriesInstanceUID of a DICOM image; "" for what is no DICOM. ``modified`` tells states of the file apart."""
    import pydicom

    try:
        with open(path, "rb") as stream:
            if stream.read(132)[128:] != b"DICM":
                return ""
        wanted = ["SeriesInstanceUID", "SOPClassUID", "Modality", "Rows"]
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=wanted)
        no_image = "Rows" not in header or kind_of(header) == NO_IMAGE
        return REPORT if no_image else str(header.get("SeriesInstanceUID") or "")
    except Exception:  # whatever a damaged file provokes: its reader will say what is wrong with it
        return ""
