"""Pictures of the data set as small data URIs, so that the page needs no other file."""

from __future__ import annotations

import base64
import io
from pathlib import Path

SIDE = 320


def thumbnail(path: str | Path, side: int = SIDE) -> str | None:
    """A JPEG data URI with the longest side at most `side`, or None where the picture cannot be read."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            small = picture.convert("RGB")
            small.thumbnail((side, side))
    except OSError:
        return None
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
