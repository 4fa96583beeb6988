"""Source of a volume: its DICOM files and identifiers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from . import scene
from .errors import CaptioningError
from .images.slices import Picture
from .words import _

IMAGE_ID = scene.PREFIX + "ImageID"
"""Attribute of a volume that came from the server: the server's name for it."""
INSTANCES = scene.PREFIX + "InstanceUIDs"
"""Attribute of a volume that came from the server: SOPInstanceUIDs of the files that it was loaded from."""


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

    Args:
        volume: its node.
        file_of: SOP instance UID -> file, such as ``slicer.dicomDatabase.fileForInstance``.

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
        raise CaptioningError(
            _("a report needs the DICOM files that the volume came from: load it with the DICOM module")
        )
    loaded = (volume.GetAttribute(INSTANCES) or volume.GetAttribute("DICOM.instanceUIDs") or "").split()
    if loaded and not {instance_uid(file) for file in files} <= set(loaded):
        raise CaptioningError(_("the volume's files hold other images than it was loaded from: load it again"))
    return files


def picture_id(volume: Any, picture: Picture) -> str:
    """A name for a slice that another one does not have, without a person's name in it."""
    storage = volume.GetStorageNode()
    origin = series_uid(volume) or (storage.GetFileName() if storage else None) or volume.GetID()
    short = hashlib.sha256(str(origin).encode()).hexdigest()[:12]
    shown = hashlib.sha256(picture.pixels.tobytes()).hexdigest()[:8]
    view = re.sub(r"[^a-z]", "", picture.orientation.lower()) or "view"
    return f"slicer_{short}_{view}_{picture.offset:+.1f}_{shown}".replace(".", "p")


def plane_of(picture: Picture) -> dict[str, Any]:
    """Where the slice lies among the volume's images, in DICOM's coordinates, for the worker's reports."""
    to_patient = np.diag([-1.0, -1.0, 1.0, 1.0])
    centre = to_patient @ picture.to_own @ [*(n / 2 for n in picture.pixels.shape[1::-1]), 0, 1]
    normal = np.cross(*(to_patient @ picture.to_own)[:3, :2].T)
    grid = to_patient @ picture.grid
    return {"point": centre[:3].tolist(), "normal": normal.tolist(), "grid": grid.tolist(), "layers": picture.layers}
