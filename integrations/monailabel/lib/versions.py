"""Versions of the fine-tuned model in one folder, and which of them is active.

``active.json`` is replaced by a rename, so every reader sees the old version or the new one. Without it the bundle's
own checkpoint is active, called ``bundle``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from scripts.atomic import write_text_atomically
from scripts.predictor import InputError

BUNDLE = "bundle"


@dataclass(frozen=True)
class Version:
    """``name`` and the checkpoint that goes with it; ``weights`` is None for the bundle's own."""

    name: str
    weights: Path | None


class Versions:
    """Versions kept under ``folder``.

    Args:
        folder: made at the first write.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @property
    def _pointer(self) -> Path:
        return self.folder / "active.json"

    def active(self) -> Version:
        """The active version.

        Raises:
            InputError: it is named but its files are gone.
        """
        try:
            name = json.loads(self._pointer.read_text(encoding="utf-8"))["version"]
        except FileNotFoundError:
            return Version(BUNDLE, None)
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{self._pointer} is damaged: delete it, then choose a version by 'activate'") from None
        return self.find(name)

    def names(self) -> list[str]:
        """All finished versions, oldest first, the bundle's own at the front."""
        return [BUNDLE, *sorted(path.parent.name for path in self.folder.glob("[0-9]*/model.pt"))]

    def find(self, name: str) -> Version:
        """The version called ``name``.

        Raises:
            InputError: there is none.
        """
        if name not in self.names():
            raise InputError(f"there is no model version {name!r}; there are {', '.join(self.names())}")
        return Version(name, None if name == BUNDLE else self.folder / name / "model.pt")

    def new_folder(self) -> Path:
        """An empty folder for the next version; two trainings never get the same."""
        self.folder.mkdir(parents=True, exist_ok=True)
        taken = [int(path.name) for path in self.folder.iterdir() if path.name.isdigit()]
        number = max(taken, default=0) + 1
        while True:
            try:
                folder = self.folder / f"{number:04d}"
                folder.mkdir()
                return folder
            except FileExistsError:
                number += 1

    def activate(self, name: str) -> Version:
        """Make a finished version the active one, atomically."""
        version = self.find(name)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text_atomically(self._pointer, json.dumps({"version": name}))
        return version
