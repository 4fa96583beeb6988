"""Recovery of a datastore's folder after an interrupted save, or on a disk that loses bits."""

from __future__ import annotations

import logging
import os
import re
import time
from pathlib import Path

from monailabel.datastore.local import LocalDatastoreModel

from scripts.atomic import remove_leftovers
from scripts.predictor import InputError

from .labels import read_label

logger = logging.getLogger(__name__)
_EARLIER = re.compile(r"label\.\d+\.json|datastore_v2\.json\.\d+\.tmp")
"""What earlier versions of this app wrote on their way."""


def recover_folder(folder: Path, state: Path, record: Path) -> None:
    """Clear up at the start of a process, while no other one writes.

    Temporary files are removed. A record that cannot be read is set aside, for the datastore then makes it again from
    the images and captions themselves, which are files of their own.

    Args:
        folder: of the datastore.
        state: where temporary files are written.
        record: file that lists images and labels.
    """
    remove_leftovers(state)
    for file in (*folder.iterdir(), *state.iterdir()):
        if _EARLIER.fullmatch(file.name):
            file.unlink(missing_ok=True)
    if record.is_file():
        try:
            LocalDatastoreModel.model_validate_json(record.read_text(encoding="utf-8"))
        except ValueError:
            logger.error("%s is damaged; it is made again from the images and captions.", _set_aside(record))


def keep_damaged_label(path: Path) -> None:
    """Set the caption at ``path`` aside if it cannot be read, so that a new one does not replace what is left of it."""
    if path.is_file():
        try:
            read_label(path)
        except InputError:
            logger.error("%s: the caption before is damaged; what is left of it stays there.", _set_aside(path))


def _set_aside(path: Path) -> Path:
    aside = path.with_name(f"{path.name}.{time.time_ns()}.damaged")
    os.replace(path, aside)
    return aside
