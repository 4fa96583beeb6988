"""Captions in both datastores (folder, DICOMweb), and names that clients choose."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock
from monailabel.datastore.local import DataModel
from monailabel.interfaces.exception import ImageNotFoundException, LabelNotFoundException

from scripts.atomic import write_text_atomically
from scripts.data.reviewed import ReviewedCaption
from scripts.predictor import InputError

from .labels import (
    DRAFT,
    JUDGED,
    OTHERS,
    REVIEWED,
    TAG,
    after,
    checked_info,
    is_edited,
    judged_by_a_person,
    label_text,
    read_label,
)  # fmt: skip
from .recovery import keep_damaged_label, recover_folder

logger = logging.getLogger(__name__)
STATE = ".msmedcap"
"""Folder beside the images for what this app keeps: model versions, locks, files that are being written."""
_PLAIN_TAG = re.compile(r"[A-Za-z0-9_-]{1,64}")


class CaptionStore:
    """Mixed into a ``LocalDatastore``: captions are checked, drafts never replace reviewed captions, and no change is
    lost when the server and a task of its own (another process) write at the same time, or when one is killed.

    A caption is saved when its file has its name and the disk has both. The record of all images and labels
    (``datastore_v2.json``) comes after; what it missed is taken from the files at the next start.
    """

    @property
    def folder(self) -> Path:
        """Where the datastore keeps its files."""
        return Path(self._datastore_path)

    @property
    def state_folder(self) -> Path:
        return self.folder / STATE

    # ------------------------------------------------------------------ reading

    def caption_of(self, image_id: str) -> dict[str, Any] | None:
        """The stored caption of an image, reviewed before draft, or None."""
        found = None
        for tag in (TAG, "final", "original"):
            path = super().get_label_uri(image_id, tag) if tag != "final" else self._final_label(image_id)
            if path.endswith(".json") and os.path.isfile(path):
                with contextlib.suppress(InputError):  # a label of another kind is no caption
                    label = read_label(path)
                    if label["status"] == REVIEWED:
                        return label
                    found = found or label
        return found

    def _final_label(self, image_id: str) -> str:
        label = self._datastore.label(image_id, "final")
        return os.path.join(self._datastore.label_path("final"), f"{image_id}{label.ext}") if label else ""

    def is_reviewed(self, image_id: str) -> bool:
        label = self.caption_of(image_id)
        return label is not None and label["status"] == REVIEWED

    def get_labeled_images(self, label_tag: str | None = None, labels: Any = None) -> list[str]:
        """Images whose caption a person has saved."""
        return [image for image in self.list_images() if self.is_reviewed(image)]

    def get_unlabeled_images(self, label_tag: str | None = None, labels: Any = None) -> list[str]:
        """Images without a reviewed caption; drafts do not count."""
        return [image for image in self.list_images() if not self.is_reviewed(image)]

    def reviewed(self) -> list[ReviewedCaption]:
        """What people saved, for training: each slice of an image that has a caption of its own."""
        found = []
        for image in self.get_labeled_images():
            newest = self.caption_of(image)
            path = self.get_image_uri(image)
            study = self.study_of(image)
            found += [_to_learn(image, path, study, label) for label in (newest, *newest.get(OTHERS, []))]
        return found

    def study_of(self, image_id: str) -> str:
        """StudyInstanceUID of an image that a DICOMweb server gave, "" of others."""
        known = self._datastore.objects.get(image_id)
        study = str(known.image.info.get("StudyInstanceUID") or "") if known else ""
        return "" if study == "UNK" else study  # MONAI Label's word for what the server does not say

    # ------------------------------------------------------------------ writing

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any], *more: Any
    ) -> str:
        """Save a caption, or refuse it.

        Raises:
            ImageNotFoundException: no such image.
            InputError: not a caption, or the tag is no plain name.
        """
        if not _PLAIN_TAG.fullmatch(str(getattr(label_tag, "value", label_tag))):
            raise InputError(f"label tag {label_tag!r}: give letters, digits, '_' and '-' only, such as '{TAG}'")
        tag = str(getattr(label_tag, "value", label_tag))
        if not str(label_filename).endswith(".json"):
            raise InputError(f"{image_id}: a caption is saved as a JSON file, not as {Path(label_filename).suffix!r}")
        label = read_label(label_filename)
        with self._exclusive():
            self._need(image_id)
            if label["status"] == DRAFT and self.is_reviewed(image_id):
                return image_id  # what a person wrote stays
            before = self.caption_of(image_id)
            if before and is_edited(before, label):
                label["status"] = REVIEWED
            if label["status"] == REVIEWED:
                label = judged_by_a_person(label)
            if label["status"] == REVIEWED and before:
                label = after(before, label)
            path = Path(self._datastore.label_path(tag)) / f"{image_id}.json"
            keep_damaged_label(path)
            write_text_atomically(path, label_text(label, image_id), staging=self.state_folder)
            info = {**checked_info(label_info or {}), **_told(label), "ts": int(time.time()), "name": path.name}
            self._datastore.objects[image_id].labels[tag] = DataModel(info=info, ext=path.suffix)
            self._update_datastore_file()
            return image_id

    def remove_image(self, image_id: str) -> None:
        with self._exclusive():
            self._need(image_id)
            super().remove_image(image_id)

    def remove_label(self, label_id: str, label_tag: str) -> None:
        with self._exclusive():
            super().remove_label(label_id, label_tag)

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        with self._exclusive():
            self._need(image_id)
            super().update_image_info(image_id, checked_info(info))

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        with self._exclusive():
            if self._datastore.label(label_id, label_tag) is None:
                raise LabelNotFoundException(f"image {label_id!r} has no label with tag {label_tag!r}")
            super().update_label_info(label_id, label_tag, checked_info(info))

    def _need(self, image_id: str) -> None:
        """Raise unless the datastore has the image."""
        if image_id not in self._datastore.objects:
            raise ImageNotFoundException(f"there is no image {image_id!r}; GET /datastore/?output=all lists them")

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """One writer at a time, in all processes and threads, who starts from what the last one wrote."""
        with self._thread_lock, self._writers():
            self._config_ts = 0  # read it in any case: two writes within a tick of the clock have one time
            self._init_from_datastore_file()
            yield

    def _writers(self) -> FileLock:
        """The lock of all writers; the system lets go of it when its process ends, however it ends."""
        self.state_folder.mkdir(parents=True, exist_ok=True)
        if not hasattr(self, "_writers_lock"):
            path = str(self.state_folder / "writers.lock")
            self._writers_lock = FileLock(path, timeout=60, thread_local=False)
        return self._writers_lock

    def _init_from_datastore_file(self, throw_exception: bool = False) -> None:
        """Read the record; at the start of a process, after clearing up what a killed one left."""
        if throw_exception:
            with self._thread_lock, self._writers():
                recover_folder(self.folder, self.state_folder, Path(self._datastore_config_path))
        super()._init_from_datastore_file(throw_exception)

    def _reconcile_datastore(self) -> None:
        """Note what came and went in the folder; at the start of a process too, while another one saves."""
        with self._exclusive():
            super()._reconcile_datastore()
            self._refresh_label_info()

    def _refresh_label_info(self) -> None:
        """Let the record say what the files say, where a save was cut off between the two."""
        stale = False
        for image_id, known in self._datastore.objects.items():
            for tag, label in known.labels.items():
                path = Path(self._datastore.label_path(tag)) / f"{image_id}{label.ext}"
                with contextlib.suppress(InputError):  # a label of another kind
                    told = _told(read_label(path)) if label.ext == ".json" else {}
                    if any(label.info.get(name) != value for name, value in told.items()):
                        label.info.update(told)
                        stale = True
        if stale:
            self._update_datastore_file()

    def _update_datastore_file(self, lock: bool = True) -> None:
        """The record of all images and labels, replaced by a rename: never half of one."""
        content = json.dumps(self._datastore.model_dump(exclude={"base_path"}), indent=2, default=str)
        with FileLock(self._lock_file) if lock else contextlib.nullcontext():
            write_text_atomically(self._datastore_config_path, content, staging=self.state_folder)
            self._config_ts = os.stat(self._datastore_config_path).st_mtime


def _told(label: dict[str, Any]) -> dict[str, Any]:
    """What the record says of a caption."""
    return {name: label.get(name) for name in ("caption", "status", "confidence", *JUDGED)}


def checked_id(image_id: str) -> str:
    """An id that names something inside the folder.

    Raises:
        InputError: it does not.
    """
    parts = str(image_id).replace("\\", "/").split("/")
    if not image_id or "\0" in image_id or any(part in ("", ".", "..") or part.startswith(".") for part in parts):
        raise InputError(f"image id {image_id!r}: give a plain name inside the studies folder, without '..'")
    return image_id


def _to_learn(image: str, path: str, study: str, label: dict[str, Any]) -> ReviewedCaption:
    asked = label.get("options") or {}
    return ReviewedCaption(
        name=image,
        image=path,
        caption=label["caption"],
        window=asked.get("window") or "auto",
        slice=label["slice"] if label.get("slice") is not None else asked.get("slice", "middle"),
        plane=label.get("plane") or asked.get("plane") or "auto",
        group=study,
    )
