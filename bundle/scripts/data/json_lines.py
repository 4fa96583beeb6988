"""Datalists of any length as JSON Lines: a header, then one entry a line; a section is read a line at a time.

    {"datalist": 1, "provenance": {...}}
    {"section": "training", "image": "images/a.png", "caption": "..."}

In memory an entry takes 16 bytes, the place and the length of its line.
"""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, overload

import numpy as np

from scripts.errors import InputError

Entry = dict[str, Any]


def is_json_lines(path: str | os.PathLike[str]) -> bool:
    """Whether a datalist's name says that it holds JSON Lines."""
    return str(path).lower().endswith(".jsonl")


class JsonLines(Sequence[Entry]):
    """The entries of one section of a JSON Lines datalist, parsed when they are asked for.

    It may be pickled and used after a fork; reading keeps no position, so threads and processes share it.

    Args:
        path: the file, which must not change meanwhile.
        section: entries of this section; a line without a section belongs to ``training``.
        prepare: called with an entry and its number, gives what is handed out.

    Raises:
        InputError: the file cannot be read, a line is no object, or there is no entry of the section.
    """

    def __init__(self, path: Path, section: str, prepare: Callable[[Entry, int], Entry] | None = None) -> None:
        self.path, self.section, self.prepare = path, section, prepare
        places = _places(path)
        self._file: int | None = None
        if section not in places:
            names = ", ".join(places) or "none"
            raise InputError(f"datalist {path} has no section '{section}' with at least one entry; it has {names}.")
        self._offsets = places[section]

    def __len__(self) -> int:
        return len(self._offsets)

    @overload
    def __getitem__(self, index: int) -> Entry:
        """One entry."""

    @overload
    def __getitem__(self, index: slice) -> list[Entry]:
        """Several."""

    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        start, length = self._offsets[index]
        entry = _entry(os.pread(self._opened(), int(length), int(start)), self.path, int(start))
        entry.pop("section", None)
        return self.prepare(entry, index % len(self)) if self.prepare else entry

    def __iter__(self) -> Iterator[Entry]:
        return (self[number] for number in range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None}

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            os.close(self._file)

    def _opened(self) -> int:
        if self._file is None:
            self._file = os.open(self.path, os.O_RDONLY)
        return self._file


class SequenceOfAll(Sequence[Entry]):
    """Several sequences one after the other, without a copy of their entries."""

    def __init__(self, parts: Sequence[Sequence[Entry]]) -> None:
        self.parts = [part for part in parts if len(part)]
        self._ends = np.cumsum([len(part) for part in self.parts])

    def __len__(self) -> int:
        return int(self._ends[-1]) if self.parts else 0

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        part = int(np.searchsorted(self._ends, index, side="right"))
        return self.parts[part][index - (int(self._ends[part - 1]) if part else 0)]


def read_header(path: Path) -> dict[str, Any]:
    """What the first line says of the datalist; empty where it is an entry."""
    try:
        with path.open("rb") as stream:
            first = stream.readline()
    except OSError as error:
        raise InputError(f"datalist {path} cannot be read: {error.strerror or error}.") from error
    entry = _entry(first, path, 0) if first.strip() else {}
    return {} if "image" in entry else entry


def section_names(path: Path) -> list[str]:
    """The sections of a JSON Lines datalist, in the order of their first entries."""
    return list(_places(path))


def _places(path: Path) -> dict[str, np.ndarray]:
    """Section to place and length in bytes `[N, 2]` (uint64) of each of its lines."""
    try:
        status = path.stat()
        return _scanned(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise InputError(f"datalist {path} cannot be read: {error.strerror or error}.") from error


@lru_cache(maxsize=2)  # every section of a file is asked for; its size and time tell whether it is still the same
def _scanned(path: Path, size: int, time: int) -> dict[str, np.ndarray]:
    found: dict[str, array[int]] = {}
    with path.open("rb") as stream:
        place = 0
        for line in stream:
            if section := _section(line, path):
                found.setdefault(section, array("Q")).extend((place, len(line)))
            place += len(line)
    return {section: np.frombuffer(places, np.uint64).reshape(-1, 2) for section, places in found.items()}


def _section(line: bytes, path: Path) -> str:
    """The section of a line, empty for the header and for blank lines; read off its beginning where it stands there."""
    if line.startswith(b'{"section": "'):
        return line[13 : line.index(b'"', 13)].decode()
    if not line.strip() or line.startswith(b'{"datalist":'):
        return ""
    entry = _entry(line, path, 0)
    return "" if "image" not in entry else str(entry.get("section", "training"))


def _entry(line: bytes, path: Path, place: int) -> Entry:
    try:
        entry = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}, byte {place}: is not valid JSON ({error}); write one object a line.") from error
    if not isinstance(entry, dict):
        raise InputError(f"{path}, byte {place}: is not an object with an 'image' key: {str(entry)[:60]!r}.")
    return entry
