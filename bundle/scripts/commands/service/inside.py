"""Paths of requests: only what lies in the served folder, links followed to their ends."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Any

from scripts.commands.service.refusals import RefusedError
from scripts.reading.sources import files_of


def inside(root: Path, name: Any) -> str:
    """The path of a file or folder of ``root``; links that lead out of it are refused.

    Raises:
        RefusedError: the name is no text, leads out of the root, or names nothing.
    """
    if not isinstance(name, str) or not name or "\0" in name:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "image is a path in the served folder, or a list of paths")
    try:
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            raise RefusedError(
                HTTPStatus.FORBIDDEN, f"{name} is outside the served folder: only what lies in it is read"
            )
        if not path.exists():
            raise RefusedError(HTTPStatus.NOT_FOUND, f"{name} does not exist in the served folder")
        alone = all(Path(file).resolve().is_relative_to(root) for file in files_of(path))
    except (OSError, RuntimeError, ValueError):  # a loop of links, a name too long, half a character
        raise RefusedError(HTTPStatus.BAD_REQUEST, "image is not a path that can be looked at") from None
    if not alone:
        raise RefusedError(HTTPStatus.FORBIDDEN, f"{name} holds a link that leads outside the served folder")
    return str(path)
