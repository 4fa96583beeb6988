"""Pictures that stand inside a table (hub Parquet): written beside it as files, byte for byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scripts.atomic import write_atomically
from scripts.data.builders.columns import Row
from scripts.errors import InputError

_BEGINNINGS = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"II*\x00": ".tif", b"MM\x00*": ".tif", b"RIFF": ".webp"}


def extracted(root: Path, name: str, row: Row, column: str) -> str:
    """Write the picture of a row below ``root`` where it is not there yet; returns its path relative to ``root``.

    Args:
        root: folder of the set.
        name: path without ending.
        row: whose ``column`` is the bytes, or ``{"bytes": ..., "path": ...}`` as hub files have it.
        column: of the picture.

    Raises:
        InputError: the column holds no picture.
    """
    value: Any = row.get(column)
    data = value.get("bytes") if isinstance(value, dict) else value
    ending = next((e for head, e in _BEGINNINGS.items() if isinstance(data, bytes) and data.startswith(head)), None)
    if ending is None:
        raise InputError(f"row {row['row']}: column '{column}' holds no PNG, JPEG, TIFF or WebP picture.")
    file = root / f"{name}{ending}"
    if not file.resolve().is_relative_to(root):
        raise InputError(f"row {row['row']}: the name {name!r} leads out of {root}.")
    if not file.is_file() or file.stat().st_size != len(data):
        write_atomically(file, lambda stream: stream.write(data) and None)
    return file.relative_to(root).as_posix()
