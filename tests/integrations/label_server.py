"""The real MONAI Label server with our app, on a free loopback port, for tests."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

APP = Path(__file__).resolve().parents[2] / "integrations" / "monailabel"
START_SECONDS = 280


@dataclass(frozen=True)
class LabelServer:
    """A running server: ``url`` is its root, ``log`` what it printed."""

    url: str
    studies: str
    log: Path

    @property
    def uploads(self) -> Path:
        """Where the server keeps what is sent, while it needs it."""
        return self.log.parent / "tmp"

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        return requests.request(method, self.url + path, timeout=280, **more)

    def caption(self, image: str = "", *, file: Path | None = None, session: str = "", **options: Any) -> dict:
        """``POST /infer/caption``; fails on any status but 200."""
        import json

        query = {"image": image, **({"session_id": session} if session else {})}
        files = {"params": (None, json.dumps(options))}
        if file is not None:
            files["file"] = (file.name, file.read_bytes())
        reply = self.ask("POST", "/infer/caption", params=query, files=files)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def wait_for(self, task: str, seconds: float = 900) -> dict:
        """Until ``/train/`` or ``/batch/infer`` has ended; its last state."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            state = self.ask("GET", task).json()
            if state["status"] not in ("SUBMITTED", "RUNNING"):
                return state
            time.sleep(0.5)
        raise AssertionError(f"{task} did not end: {state}")


def missing_label_server() -> str | None:
    """Why the server cannot be started here, or None."""
    import importlib.util

    if importlib.util.find_spec("monailabel") is None:
        return "MONAI Label is not installed (make label, or make test, installs it)"
    return None


@contextlib.contextmanager
def label_server(
    studies: str | Path,
    folder: Path,
    *,
    app: Path = APP,
    environment: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
) -> Iterator[LabelServer]:
    """Start ``serve.py`` on ``studies`` and stop it at the end."""
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    port, log = free_port(), folder / "server.log"
    own = {
        "MONAI_LABEL_SESSION_PATH": str(folder / "sessions"),
        "OMP_NUM_THREADS": "1",
        "TMPDIR": str(folder / "tmp"),
    }
    command = [sys.executable, str(APP / "serve.py"), "--studies", str(studies), "--port", str(port), *arguments]
    command += ["--conf", "anything", "true", "--conf", "abstain_below", "0"]  # studies that tests make are not medical
    if app != APP:
        command += ["--app", str(app)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **own, **(environment or {})}
        )
    try:
        _wait(f"http://127.0.0.1:{port}", process, log)
        yield LabelServer(f"http://127.0.0.1:{port}", str(studies), log)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
    killed = process.returncode == -signal.SIGKILL
    assert killed or not list((folder / "tmp").glob("msmedcap-uploads-*")), "what was sent outlives the server"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait(url: str, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        with contextlib.suppress(requests.ConnectionError):
            if requests.get(f"{url}/openapi.json", timeout=30).status_code == 200:
                return
        time.sleep(0.2)
    raise AssertionError(f"the server did not start:\n{log.read_text(errors='replace')[-3000:]}")
