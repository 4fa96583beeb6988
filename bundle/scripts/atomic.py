"""Files that are either the old or the new version, never half of one."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import IO

_told: ContextVar[Callable[[Path], None] | None] = ContextVar("told", default=None)


@contextlib.contextmanager
def telling(told: Callable[[Path], None]) -> Iterator[None]:
    """Tell somebody of every file that is written inside, before it is."""
    token = _told.set(told)
    try:
        yield
    finally:
        _told.reset(token)


def write_atomically(
    path: str | os.PathLike[str], write: Callable[[IO[bytes]], None], *, staging: Path | None = None
) -> Path:
    """Write to a temporary file, flush it to the disk, rename it, and flush the folder.

    Whatever happens before the rename (disk full, kill), the file that was at ``path`` stays as it was.

    Args:
        path: the file; folders above it are made.
        write: gets the open temporary file, which can be read back, too.
        staging: folder of the temporary file, on the same disk; the folder of ``path`` by default.

    Raises:
        OSError: writing failed; the temporary file is gone.
    """
    path = Path(path)
    told = _told.get()
    if told is not None:
        told(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = (staging or path.parent) / _temporary_name(path.name)
    try:
        with temporary.open("w+b") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        if isinstance(error, RuntimeError):  # torch.save reports a failing disk as RuntimeError
            raise OSError(f"writing {path} failed: {str(error).splitlines()[0]}") from error
        raise
    flush_folder(path.parent)
    return path


def write_text_atomically(path: str | os.PathLike[str], text: str, *, staging: Path | None = None) -> Path:
    """``write_atomically`` for a string, as UTF-8."""
    return write_atomically(path, lambda file: file.write(text.encode("utf-8")) and None, staging=staging)


def _temporary_name(name: str) -> str:
    """No other thread or process writes under it; a long name is cut, as a file name has 255 bytes at most."""
    kept = name.encode()[:200].decode(errors="ignore")
    return f".{kept}.{os.getpid()}.{threading.get_ident()}.tmp"


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Delete temporary files that a killed run left in ``folder``; call it before anything writes there."""
    for file in Path(folder).glob(".*.tmp"):
        file.unlink(missing_ok=True)


def flush_folder(folder: Path) -> None:
    """Make a rename itself survive a power cut, where the file system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
