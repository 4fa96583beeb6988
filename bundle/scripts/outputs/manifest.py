"""Manifest: the files that a run wrote, which the next run into the same folder removes, and no others.

Names of reports end in digits of their identifier, which another caption or other weights change: without this, reports
of an earlier run would stay beside the new ones and be sent with them. A list holds paths below ``output_dir`` and
nothing of what is in the files. A path is on the disk before its file is, so a killed run leaves no file unlisted.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator
from pathlib import Path

from scripts.atomic import write_text_atomically
from scripts.errors import InputError

FOLDER = ".written"


class Manifest:
    """The files of one output, a JSON text a line in ``output_dir/.written/<output>.jsonl``.

    Args:
        output_dir: the run's folder.
        output: name from ``scripts.outputs.WRITERS``.
    """

    def __init__(self, output_dir: Path, output: str) -> None:
        self.root = Path(output_dir)
        self.path = self.root / FOLDER / f"{output}.jsonl"
        self._noted: set[str] = set()

    def note(self, path: Path) -> None:
        """Add a file that is about to be written."""
        line = json.dumps(Path(os.path.relpath(path, self.root)).as_posix()) + "\n"
        if line in self._noted:
            return
        self._noted.add(line)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def take_up(self) -> None:
        """Go on with the list of a run that was interrupted: its last line may be incomplete, a file half-written."""
        listed = list(self._listed())
        for path in listed:
            for begun in _begun(path):
                begun.unlink(missing_ok=True)
        if self.path.is_file():
            lines = [json.dumps(path.relative_to(self.root.resolve()).as_posix()) + "\n" for path in listed]
            write_text_atomically(self.path, "".join(lines))
            self._noted = set(lines)

    def remove_files(self) -> None:
        """Remove what the list names, folders that this empties, and the list.

        Raises:
            InputError: a file cannot be removed; the list still names it.
        """
        self._noted.clear()
        for path in self._listed():
            try:
                for file in (path, *_begun(path)):
                    file.unlink(missing_ok=True)
            except OSError as error:
                raise InputError(f"{path}: of an earlier run, cannot be removed ({error.strerror})") from None
            self._remove_empty(path.parent)
        self.path.unlink(missing_ok=True)

    def _listed(self) -> Iterator[Path]:
        """Paths of the list that lie in the run's folder; the last line is incomplete where a run was killed."""
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() else []
        root = self.root.resolve()
        for line in lines:
            try:
                path = root / json.loads(line)
            except (ValueError, TypeError):
                continue
            inside = ".." not in path.parts and path.parent.resolve().is_relative_to(root)
            if inside and (path.is_symlink() or not path.is_dir()):
                yield path

    def _remove_empty(self, folder: Path) -> None:
        root = self.root.resolve()
        while folder != root and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent


def _begun(path: Path) -> list[Path]:
    """What a run that was killed while it wrote ``path`` left of it."""
    return list(path.parent.glob(f".{glob.escape(path.name)}.*.tmp"))
