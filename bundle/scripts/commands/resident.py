"""A captioner that stays for some minutes, so that the next ``make caption`` need not load it again.

The first command starts it beside itself. It listens on a socket in a folder that only its user may enter, and both
sides check the user of the other. A request names a source and an output folder; what the run prints goes back over
the socket, and nothing of it is kept: no log, no path, no pixels. The file name of the socket is a hash of all that
captions depend on (program, weights, settings, environment): a change of any of these finds no captioner.
One request at a time: who finds it busy captions by itself. It ends after some idle minutes.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import hashlib
import json
import os
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows, which has no such sockets either
    fcntl = None

Job = Mapping[str, Any]
_STARTS = 60.0  # seconds that its socket may take to appear: a loaded machine, a slow disk
_LONGEST = 100  # bytes of a socket's path, which systems limit to 104 or 108
_ENVIRONMENT = ("MSMEDCAP_", "HF_", "TRANSFORMERS_", "TORCH", "OMP_", "MKL_", "KMP_", "CUDA_", "LC_", "LANG", "TZ")
_ENVIRONMENT += ("PYTHONPATH", "HOME", "XDG_CACHE_HOME", "TMPDIR", "HTTP", "http")


def socket_path(what: Mapping[str, Any]) -> Path | None:
    """Where a captioner listens that is loaded from ``what`` (``bundle``, ``config``, ``settings``).

    None where this system has no such sockets, or the folder is not this user's alone.
    """
    if fcntl is None or not hasattr(socket, "AF_UNIX"):
        return None
    folder = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"msmedcap-{os.getuid()}"
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700)
    try:
        found = folder.lstat()
    except OSError:
        return None
    private = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
    path = folder / f"{_key(what)}.sock"
    return path if private and len(os.fsencode(path)) <= _LONGEST else None


def _key(what: Mapping[str, Any]) -> str:
    bundle = Path(what["bundle"]).resolve()
    named = [Path(value) for value in what["settings"].values() if isinstance(value, str) and os.path.isfile(value)]
    parts = [bundle / "scripts", bundle / "configs", bundle / "models"]
    files = sorted(file for part in parts for file in part.rglob("*") if file.suffix != ".pyc" and file.is_file())
    stamps = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in [*files, *named]]
    environment = sorted((name, value) for name, value in os.environ.items() if name.startswith(_ENVIRONMENT))
    told = [os.getuid(), sys.executable, sys.version, os.getcwd() if named else "", dict(what), stamps, environment]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]


def ask(path: Path, job: Job, start: list[str]) -> int | None:
    """Have ``job`` done by the captioner at ``path``, which is started if there is none; print what it prints.

    Args:
        path: of `socket_path`.
        job: for the captioner.
        start: the command that begins one.

    Returns:
        The exit code; None where it is busy or cannot be had, and nothing has been done.
    """
    with open(path.with_suffix(".lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return None
        with _connected(path) or _started(path, start) or contextlib.nullcontext() as link:
            return None if link is None or not _is_mine(link) else _told(link, job)


def _connected(path: Path) -> socket.socket | None:
    link = socket.socket(socket.AF_UNIX)
    try:
        link.connect(str(path))
    except OSError:
        link.close()
        return None
    return link


def _started(path: Path, start: list[str]) -> socket.socket | None:
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    child = subprocess.Popen(start, start_new_session=True, **quiet)
    until = time.monotonic() + _STARTS
    while time.monotonic() < until and child.poll() is None:
        if link := _connected(path):
            return link
        time.sleep(0.02)
    return None


def _is_mine(link: socket.socket) -> bool:
    """Whether the other end is a process of this user; where the system cannot tell, the folder's mode must do."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    _, user, _ = struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return user == os.getuid()


def _told(link: socket.socket, job: Job) -> int | None:
    """Send the job and print the replies until its exit code comes; None if the captioner never began it."""
    begun = False
    with contextlib.suppress(OSError, ValueError), link.makefile("rw", encoding="utf-8") as stream:
        stream.write(json.dumps({**job, "folder": os.getcwd()}) + "\n")
        stream.flush()
        for line in stream:
            reply = json.loads(line)
            if "code" in reply:
                return reply["code"]
            begun = True
            print(reply["text"], end="", file=sys.stderr if reply["to"] == "err" else sys.stdout, flush=True)
    if begun:
        print("error: the captioner ended in the middle of its work; call again", file=sys.stderr)
        return 1
    return None


def serve(path: Path, idle: float, work: Callable[[Job], int]) -> None:
    """Listen at ``path`` and do one job after the other, until none comes for ``idle`` seconds."""
    with open(path.with_suffix(".server"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # another one was quicker
            return
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen(4)
            listener.settimeout(idle)
            try:
                while True:
                    link, _ = listener.accept()
                    with link:
                        if _is_mine(link):
                            _answer(link, work)
            except TimeoutError:
                pass
            finally:
                path.unlink(missing_ok=True)


def _answer(link: socket.socket, work: Callable[[Job], int]) -> None:
    """Do one job; a client that is gone ends it at the next line it would have read."""
    link.settimeout(None)
    with contextlib.suppress(OSError, ValueError), link.makefile("rw", encoding="utf-8") as stream:
        line = stream.readline()
        if not line:
            return
        job = json.loads(line)
        back = os.getcwd()
        try:
            os.chdir(job["folder"])
            with _printing_to(stream):
                code = work(job)
            stream.write(json.dumps({"code": code}) + "\n")
            stream.flush()
        finally:
            os.chdir(back)
            _forget()


def _forget() -> None:
    """Drop what is kept of files and captions (headers, listings, texts); memory that held pixels goes back."""
    for name, module in list(sys.modules.items()):
        if name.startswith("scripts."):
            for kept in list(vars(module).values()):
                if callable(clear := getattr(kept, "cache_clear", None)):
                    clear()
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)


@contextlib.contextmanager
def _printing_to(stream: IO[str]) -> Iterator[None]:
    with contextlib.redirect_stdout(_Back(stream, "out")), contextlib.redirect_stderr(_Back(stream, "err")):
        yield


class _Back:
    """A text stream whose lines go to the client."""

    encoding = "utf-8"

    def __init__(self, stream: IO[str], name: str) -> None:
        self.stream, self.name = stream, name

    def write(self, text: str) -> int:
        if text:
            self.stream.write(json.dumps({"to": self.name, "text": text}) + "\n")
            self.stream.flush()
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False
