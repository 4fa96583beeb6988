"""What the panel's buttons do, without the panel."""

from __future__ import annotations

import hashlib
import re
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import slicer

from . import overlay, scene
from .errors import CaptioningError
from .slices import Picture, slice_picture

NOTICE = "Draft by a machine. For research, not for diagnosis."
IMAGE_ID = scene.PREFIX + "ImageID"
"""Attribute of a volume that came from the server: the server's name for it."""
INSTANCES = scene.PREFIX + "InstanceUIDs"
"""Attribute of a volume that came from the server: SOPInstanceUIDs of the files that it was loaded from."""


class Backend(Protocol):
    """Who captions: :class:`server.LabelServer` or :class:`local.LocalWorker`."""

    reports: bool

    def check(self) -> str: ...

    def caption(self, png: Path, **options: Any) -> dict[str, Any]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Draft:
    """A caption as it came: which volume and slice, and the backend's reply."""

    volume: Any
    picture: Picture
    reply: dict[str, Any]

    @property
    def text(self) -> str:
        return self.reply["caption"]

    @property
    def confidence(self) -> float:
        return float(self.reply["confidence"])

    @property
    def likely(self) -> float | None:
        """The chance that plane, modality and organ are right; None where the model has no calibration."""
        found = self.reply.get("calibrated_confidence")
        return None if found is None else float(found)

    @property
    def withheld(self) -> bool:
        """The model is less sure of it than its configuration asks for."""
        return bool(self.reply.get("abstained"))

    def needs_confirmation(self, text: str) -> bool:
        """Whether ``text`` is a withheld caption that nobody changed."""
        return self.withheld and text.split() == self.text.split()

    @property
    def words(self) -> list[str]:
        return overlay.words_of(self.reply)


class CaptionLogic:
    """Captions slices of volumes in one scene.

    Args:
        mrml: the scene.
        backend: who captions.
    """

    def __init__(self, mrml: Any, backend: Backend) -> None:
        self.scene = mrml
        self.backend = backend
        self._folder = tempfile.TemporaryDirectory(prefix="captioning-")

    def caption(self, volume: Any, slice_node: Any, **options: Any) -> Draft:
        """Caption what a slice view shows of a volume.

        Args:
            volume, slice_node: see :func:`slices.slice_picture`.
            options: ``prompt``, ``num_beams``, ``explain``.

        Raises:
            CaptioningError: one sentence for the user.
        """
        picture = slice_picture(volume, slice_node)
        return self.caption_picture(volume, picture, **options)

    def caption_picture(self, volume: Any, picture: Picture, **options: Any) -> Draft:
        """The slow half of :meth:`caption`: touches no node, so it may run in another thread."""
        given = {name: value for name, value in options.items() if value not in (None, "")}
        return Draft(volume, picture, self.backend.caption(self._png(picture), window="none", **given))

    def save(self, draft: Draft, text: str) -> Any:
        """Keep a caption, edited or not, as a text node of the scene."""
        edited = " ".join(text.split()) != draft.text
        details = {
            "ModelVersion": draft.reply["model_version"],
            "Confidence": f"{draft.confidence:.3f}",
            "Draft": draft.text,
            "Edited": "yes" if edited else "no",
            "Withheld": "yes" if draft.needs_confirmation(text) else "no",
            "LikelyRight": None if draft.likely is None else f"{draft.likely:.3f}",
            "Notice": NOTICE,
        }
        return scene.save_caption(self.scene, draft.volume, draft.picture, text, details)

    def show(self, draft: Draft, word: int | None = None) -> Any:
        """Overlay of where a word (or, with None, the caption) comes from, as a volume in the slice's place."""
        heat = overlay.heat(draft.reply, draft.picture.pixels.shape[:2], word)
        return scene.show_overlay(self.scene, draft.volume, draft.picture, heat)

    def send(self, draft: Draft, text: str, *, confirmed: bool = False) -> str:
        """Send a corrected caption to MONAI Label, where it becomes training data; the id of the image there.

        Raises:
            CaptioningError: not a server, no text, or a withheld caption that is neither edited nor ``confirmed``.
        """
        if not hasattr(self.backend, "send"):
            raise CaptioningError("corrections go to a MONAI Label server: choose server mode")
        text = " ".join(text.split())
        if not text:
            raise CaptioningError("the caption is empty: write one before sending it")
        _allow(draft, text, confirmed)
        picture = draft.picture
        label = {
            "caption": text,
            "status": "reviewed",
            "draft": draft.text,
            "confidence": draft.confidence,
            "model_version": draft.reply["model_version"],
            "plane": picture.plane,
            "slice": picture.index,
            "options": {"window": _window(picture)},
            "picture_id": picture_id(draft.volume, picture),
        }
        image_id = draft.volume.GetAttribute(IMAGE_ID) or series_uid(draft.volume)
        return self.backend.send(label, image_id, self._png(picture))

    def report(
        self, draft: Draft, text: str, output: Path, worker: Any, file_of: Callable[[str], str] | None = None,
        *, confirmed: bool = False,
    ) -> Path:  # fmt: skip
        """Export a caption as a DICOM SR of the volume's patient and study.

        Args:
            draft, text: what was captioned, and the caption as the user left it.
            output: file to write.
            worker: a :class:`local.LocalWorker`.
            file_of: SOP instance UID -> file, such as ``slicer.dicomDatabase.fileForInstance``.
            confirmed: the user read a withheld caption and stands by it.

        Raises:
            CaptioningError: the volume did not come from DICOM, its patient or study is ambiguous, or the caption is
                withheld and neither edited nor confirmed.
        """
        _allow(draft, text, confirmed)
        return worker.report(
            source_files(draft.volume, file_of),
            output,
            caption=text,
            confidence=draft.confidence,
            model_version=draft.reply["model_version"],
            weights=draft.reply["weights"],
            edited=" ".join(text.split()) != draft.text,
            abstained=draft.withheld,
            confirmed=confirmed,
            plane=_plane(draft.picture),
        )

    def close(self) -> None:
        """End the backend and remove what was written for it."""
        self.backend.close()
        self._folder.cleanup()

    def _png(self, picture: Picture) -> Path:
        name = hashlib.sha256(picture.pixels.tobytes()).hexdigest()[:16]
        return picture.write_png(Path(self._folder.name) / f"{name}.png")


class Background:
    """A function in a thread, for a panel that looks in from time to time.

    Args:
        function: must not touch the scene.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        self.result: Any = None
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(function,), daemon=True)
        self._thread.start()

    def _run(self, function: Callable[[], Any]) -> None:
        try:
            self.result = function()
        except Exception as error:  # handed to the panel, which shows it
            self.error = error

    def done(self) -> bool:
        return not self._thread.is_alive()


def series_uid(volume: Any) -> str:
    """SeriesInstanceUID of a volume loaded from DICOM, which Slicer keeps in the subject hierarchy; else ""."""
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(volume.GetScene())
    item = tree.GetItemByDataNode(volume) if tree is not None else 0
    return tree.GetItemUID(item, "DICOM") if item else ""


def remember_source(volume: Any, image_id: str, files: Sequence[Path]) -> None:
    """Note on a volume what the server calls it, and which DICOM images its files hold now."""
    volume.SetAttribute(IMAGE_ID, image_id)
    volume.SetAttribute(INSTANCES, " ".join(uid for file in files if (uid := instance_uid(file))))


def instance_uid(file: str | Path) -> str:
    """SOPInstanceUID of a DICOM file; "" for another file."""
    import pydicom

    try:
        return str(pydicom.dcmread(file, specific_tags=["SOPInstanceUID"], stop_before_pixels=True).SOPInstanceUID)
    except Exception:  # whoever writes the report says what is wrong with the file
        return ""


def source_files(volume: Any, file_of: Callable[[str], str] | None = None) -> list[str]:
    """The DICOM files that a volume was loaded from.

    Raises:
        CaptioningError: it was not loaded from files, or they hold other images now.
    """
    uids = (volume.GetAttribute("DICOM.instanceUIDs") or "").split()
    found = [file_of(uid) for uid in uids] if file_of is not None else []
    if not found:
        storage = volume.GetStorageNode()
        count = storage.GetNumberOfFileNames() if storage is not None else 0
        found = [storage.GetNthFileName(i) for i in range(count)] or [storage.GetFileName() if storage else None]
    files = [file for file in found if file and Path(file).is_file()]
    if not files or len(files) != len(found):
        raise CaptioningError("a report needs the DICOM files that the volume came from: load it with the DICOM module")
    loaded = (volume.GetAttribute(INSTANCES) or volume.GetAttribute("DICOM.instanceUIDs") or "").split()
    if loaded and not {instance_uid(file) for file in files} <= set(loaded):
        raise CaptioningError("the volume's files hold other images than it was loaded from: load it again")
    return files


def picture_id(volume: Any, picture: Picture) -> str:
    """A name for a slice that another one does not have, without a person's name in it."""
    storage = volume.GetStorageNode()
    origin = series_uid(volume) or (storage.GetFileName() if storage else None) or volume.GetID()
    short = hashlib.sha256(str(origin).encode()).hexdigest()[:12]
    shown = hashlib.sha256(picture.pixels.tobytes()).hexdigest()[:8]
    view = re.sub(r"[^a-z]", "", picture.orientation.lower()) or "view"
    return f"slicer_{short}_{view}_{picture.offset:+.1f}_{shown}".replace(".", "p")


def _allow(draft: Draft, text: str, confirmed: bool) -> None:
    """Keep a caption that the model itself doubts from leaving unread."""
    if draft.needs_confirmation(text) and not confirmed:
        raise CaptioningError("the model is not sure enough of this caption: edit it, or confirm that it is right")


def _plane(picture: Picture) -> dict[str, Any]:
    """Where the slice lies among the volume's images, in DICOM's coordinates; see ``reading.dicom.source_plane``."""
    to_patient = np.diag([-1.0, -1.0, 1.0, 1.0])
    centre = to_patient @ picture.to_own @ [*(n / 2 for n in picture.pixels.shape[1::-1]), 0, 1]
    normal = np.cross(*(to_patient @ picture.to_own)[:3, :2].T)
    grid = to_patient @ picture.grid
    return {"point": centre[:3].tolist(), "normal": normal.tolist(), "grid": grid.tolist(), "layers": picture.layers}


def _window(picture: Picture) -> str:
    return "auto" if picture.window is None else "/".join(f"{value:g}" for value in picture.window)
