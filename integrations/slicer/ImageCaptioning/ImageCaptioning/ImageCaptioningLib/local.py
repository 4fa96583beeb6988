"""Local mode: captions and DICOM reports by another Python's process, so that torch stays out of Slicer's."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import CaptioningError

_SLICERS_OWN = ("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONNOUSERSITE")
"""What Slicer sets for its own Python and what would break another one."""


class LocalWorker:
    """``python -m scripts.commands.worker`` of the captioning bundle, started at the first request and kept.

    Args:
        python: executable of the environment in which the bundle runs.
        bundle: the bundle folder.
    """

    reports = True

    def __init__(self, python: str | Path, bundle: str | Path) -> None:
        self.python, self.bundle = Path(python), Path(bundle)
        self._process: subprocess.Popen | None = None
        self._log = None
        self._number = 0
        self._lock = threading.Lock()

    def check(self) -> str:
        """Start the process and load the network; the model version."""
        return str(self._ask("hello")["model_version"])

    def caption(self, png: Path, **options: Any) -> dict[str, Any]:
        """Caption a picture; see ``scripts.commands.worker.caption_reply``."""
        return self._ask("caption", image=str(png), options=options)

    def report(self, source: Sequence[str], output: Path, **content: Any) -> Path:
        """Write a DICOM SR of the source's patient and study; see ``scripts.commands.worker``."""
        return Path(self._ask("report", source=[str(file) for file in source], output=str(output), **content)["file"])

    def close(self) -> None:
        """End the process."""
        with self._lock:
            if self._process is not None:
                self._process.stdin.close()
                try:
                    self._process.wait(10)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                self._process = None

    def _ask(self, do: str, **request: Any) -> dict[str, Any]:
        with self._lock:
            process = self._running()
            self._number += 1
            try:
                process.stdin.write(json.dumps({"id": self._number, "do": do, **request}) + "\n")
                process.stdin.flush()
                line = process.stdout.readline()
            except OSError:
                line = ""
            if not line:
                self._process = None
                raise CaptioningError(f"the captioning process ended: {self._last_words()}")
        reply = json.loads(line)
        if not reply["ok"]:
            raise CaptioningError(reply["error"])
        return reply["result"]

    def _running(self) -> subprocess.Popen:
        if self._process is not None and self._process.poll() is None:
            return self._process
        if not (self.bundle / "scripts" / "worker.py").is_file():
            raise CaptioningError(
                f"{self.bundle} is not the captioning bundle: choose the folder with configs and scripts"
            )
        environment = {name: value for name, value in os.environ.items() if name not in _SLICERS_OWN}
        environment["PYTHONPATH"] = str(self.bundle)
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 (lives as long)
        command = [str(self.python), "-m", "scripts.commands.worker", "--bundle", str(self.bundle)]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                encoding="utf-8",
                env=environment,
            )
        except OSError:
            raise CaptioningError(f"{self.python} cannot be started: choose the Python of the bundle") from None
        return self._process

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().splitlines() if line.strip()]
        return lines[-1][:300] if lines else "it said nothing"
