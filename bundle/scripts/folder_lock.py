"""A folder that one run at a time writes to.

The lock is a file that names host and process of its owner, held by the file system: it is free again when its owner
ends, however that ends. Where a file system cannot lock, the file's words count, and an owner that is dead loses it.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from scripts.errors import InputError

_CANNOT_LOCK = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_held: dict[tuple[int, str], int] = {}
"""(process, file) to open file. A forked child holds none of its parent's locks."""


class FolderLock:
    """The lock of ``folder`` for one purpose; a process may take what it holds already.

    Args:
        folder: made if absent.
        purpose: names the file, ``.<purpose>.lock``: runs of different purposes may share a folder.
        remedy: what a user can do besides waiting, for the message.
    """

    def __init__(
        self, folder: str | os.PathLike[str], purpose: str, *, remedy: str = "give another output_dir"
    ) -> None:
        self.folder = Path(folder)
        self.path = self.folder / f".{purpose}.lock"
        self.remedy = remedy

    @property
    def _key(self) -> tuple[int, str]:
        return os.getpid(), os.path.realpath(self.path)

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            InputError: another run writes to the folder; the message names its process.
            OSError: the folder cannot be written.
        """
        if self._key in _held:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        while True:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                self._lock(handle)
                if _is_at(handle, self.path):
                    break
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)  # its owner deleted the file while this process waited to open it
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(_myself()).encode(), 0)
        _held[self._key] = handle

    def release(self) -> None:
        """Let go of it; nothing where this process does not hold it."""
        handle = _held.pop(self._key, None)
        if handle is not None:
            self.path.unlink(missing_ok=True)
            os.close(handle)

    def _lock(self, handle: int) -> None:
        """Raises: InputError where somebody else holds it."""
        import fcntl

        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not flock: forked workers must not keep it
        except OSError as error:
            owner = _owner(handle)
            if error.errno not in _CANNOT_LOCK:
                raise self._refusal(owner) from None
            if owner and _may_live(owner):
                raise self._refusal(owner, f" (or delete {self.path}, if that process is gone)") from None

    def _refusal(self, owner: dict[str, Any], more: str = "") -> InputError:
        who = f"process {owner['pid']} on {owner['host']}, since {owner['since']}" if owner else "another process"
        return InputError(f"{self.folder} is being written by {who}: wait for it, stop it, or {self.remedy}{more}")


def _myself() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}


def _owner(handle: int) -> dict[str, Any]:
    try:
        owner = json.loads(os.pread(handle, 4096, 0))
        return owner if {"host", "pid", "since"} <= set(owner) else {}
    except (OSError, ValueError, TypeError):
        return {}


def _may_live(owner: dict[str, Any]) -> bool:
    if owner["host"] != socket.gethostname():
        return True
    try:
        os.kill(int(owner["pid"]), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError, TypeError):
        return True
    return True


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False
