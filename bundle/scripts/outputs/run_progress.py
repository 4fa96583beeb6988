"""Progress of a run: each case that is written gets a line, so that the same run, killed and started again, goes on.

The file lies beside the manifests and is gone when the run ends. Each line begins with the CRC-32 of what follows; the
first damaged or incomplete one ends what is believed. The first line says which run it is.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from scripts.outputs.manifest import FOLDER


class Progress:
    """The lines of one run.

    Args:
        output_dir: the run's folder.
    """

    def __init__(self, output_dir: str | Path) -> None:
        self.path = Path(output_dir) / FOLDER / "progress.jsonl"
        self._file: IO[bytes] | None = None

    def identity(self) -> Mapping[str, str] | None:
        """Which run was interrupted here: name of a part of what decides its results -> digest. None without one."""
        first = next(self._lines(), None)
        return first[1] if first is not None and isinstance(first[1], dict) else None

    def begin(self, identity: Mapping[str, str]) -> None:
        """Start anew."""
        self.end()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("wb")
        self.add([dict(identity)])

    def take_up(self, whole: int, below: int) -> int:
        """Keep the lines of whole batches and go on after them.

        Args:
            whole: cases of a batch; what was written of an incomplete one is made again.
            below: keep fewer than so many cases.

        Returns:
            how many cases are kept.
        """
        ends = [end for end, _ in self._lines()]
        kept = min(len(ends) - 1, below - 1) // whole * whole
        os.truncate(self.path, ends[kept])
        self._file = self.path.open("ab")
        return kept

    def cases(self) -> Iterator[dict[str, Any]]:
        """The lines after the first."""
        lines = self._lines()
        next(lines, None)
        yield from (line for _, line in lines)

    def add(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Write lines and flush them to the disk.

        Raises:
            OSError: writing failed.
        """
        if self._file is None:
            return
        for line in lines:
            text = json.dumps(line, ensure_ascii=True, separators=(",", ":")).encode()
            self._file.write(b"%08x %s\n" % (zlib.crc32(text), text))
        self._file.flush()
        os.fsync(self._file.fileno())

    def end(self) -> None:
        """The run has ended: there is nothing to go on with."""
        if self._file is not None:
            self._file.close()
        self._file = None
        self.path.unlink(missing_ok=True)

    def _lines(self) -> Iterator[tuple[int, Any]]:
        """Each sound line and where it ends."""
        if not self.path.is_file():
            return
        end = 0
        with self.path.open("rb") as file:
            for line in file:
                end += len(line)
                checksum, _, text = line[:-1].partition(b" ")
                if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(text):
                    return
                yield end, json.loads(text)
