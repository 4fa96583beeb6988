"""Captions and reports by a process of its own on this computer, so that torch stays out of Slicer's Python."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from ..errors import CaptioningError
from ..words import _
from .worker_start import worker_module

SLICERS_OWN = ("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONNOUSERSITE")
"""What Slicer sets for its own Python and what would break another one."""
START = Path(__file__).with_name("worker_start.py")
_shared: dict[tuple[str, str, str], LocalWorker] = {}


class LocalWorker:
    """The worker of the captioning bundle, started at the first request and kept.

    Args:
        python: executable that runs it.
        bundle: the bundle folder.
        packages: folder of packages for that Python, or None where it has them itself.
        variables: more environment variables, such as ``MSMEDCAP_CACHE``.
    """

    reports = True
    name = "local"

    def __init__(
        self,
        python: str | Path,
        bundle: str | Path,
        packages: str | Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.python, self.bundle = Path(python), Path(bundle)
        self.packages = Path(packages) if packages else None
        self.variables = dict(variables or {})
        self._process: subprocess.Popen | None = None
        self._log: IO[str] | None = None
        self._number = 0
        self._lock = threading.Lock()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def check(self) -> str:
        """Start the process and load the network; the model version."""
        return str(self._ask("hello").get("model_version", ""))

    def caption(self, file: Path, **options: Any) -> dict[str, Any]:
        """Caption a picture; the reply's keys are those of the bundle's worker."""
        return self._ask("caption", image=str(file), options=options)

    def region(self, caption: str, word: int) -> Any:
        """SAM's region of a word of the last caption: bool ``[s, s]`` over the network's square.

        Args:
            caption: the reply's ``id``.
            word: its place among the explained words.
        """
        import numpy as np  # Slicer's Python has it; the set-up does without

        drawn = self._ask("region", caption=caption, word=word)
        bits = np.unpackbits(np.frombuffer(base64.b64decode(drawn["inside"]), np.uint8))
        return bits[: drawn["size"] ** 2].reshape(drawn["size"], -1).astype(bool)

    def report(self, source: Sequence[str], output: Path, **content: Any) -> Path:
        """Write a DICOM SR or FHIR report (``format``) of the source's patient and study."""
        return Path(self._ask("report", source=[str(file) for file in source], output=str(output), **content)["file"])

    def cancel(self) -> None:
        """End a request that is under way: the process goes, the next request starts another."""
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """End the process."""
        with self._lock:
            process, self._process = self._process, None
            if process is None:
                return
            _close(process)
            self._log.close()

    def _ask(self, do: str, **request: Any) -> dict[str, Any]:
        with self._lock:
            process = self._running()
            self._number += 1
            line = _exchange(process, {"id": self._number, "do": do, **request})
            try:
                reply = json.loads(line)
                failed = not reply["ok"]
            except (ValueError, KeyError, TypeError):
                self._process = None
                _close(process)
                raise CaptioningError(
                    _("the captioning process ended: {reason}").format(reason=self._last_words())
                ) from None
        if failed:
            raise CaptioningError(str(reply.get("error")))
        return reply["result"]

    def _running(self) -> subprocess.Popen:
        if self.running:
            return self._process
        if worker_module(self.bundle) is None:
            raise CaptioningError(
                _("{bundle} is not the captioning bundle: choose the folder with configs and scripts").format(
                    bundle=self.bundle
                )
            )
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 (lives as long)
        command = [str(self.python), str(START), "--bundle", str(self.bundle)]
        if self.packages is not None:
            command += ["--packages", str(self.packages)]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                encoding="utf-8",
                env=plain_environment(self.variables),
                **quiet_start(),
            )
        except OSError:
            raise CaptioningError(
                _("{python} cannot be started: choose the Python of the bundle").format(python=self.python)
            ) from None
        return self._process

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().splitlines() if line.strip()]
        return lines[-1][:300] if lines else _("it said nothing")


def shared_worker(
    python: str | Path, bundle: str | Path, packages: str | Path | None, variables: Mapping[str, str] | None = None
) -> LocalWorker:
    """The worker of these folders: one that runs is used again, also by a panel that was made anew."""
    key = (str(python), str(bundle), str(packages or ""))
    if key not in _shared:
        _shared[key] = LocalWorker(python, bundle, packages, variables)
    return _shared[key]


def close_shared(bundle: str | Path | None = None) -> None:
    """End the shared workers, or that of one bundle."""
    for key in [key for key in _shared if bundle is None or key[1] == str(bundle)]:
        worker = _shared.pop(key)
        worker.cancel()
        worker.close()


def plain_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without what Slicer set for its own Python."""
    return {**{name: value for name, value in os.environ.items() if name not in SLICERS_OWN}, **(more or {})}


def quiet_start() -> dict[str, Any]:
    """Arguments of ``Popen`` that keep a console window from opening on Windows."""
    return {"creationflags": subprocess.CREATE_NO_WINDOW} if sys.platform == "win32" else {}


def _exchange(process: subprocess.Popen, request: dict[str, Any]) -> str:
    """Send a line, read a line; empty where the process ended."""
    try:
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        return process.stdout.readline()
    except (OSError, ValueError):
        return ""


def _close(process: subprocess.Popen) -> None:
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):  # a pipe whose other end is gone
            stream.close()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)
