"""A caption as MONAI Label stores it: a JSON file, its label tag ``caption``.

``{"caption": text, "status": "draft" | "reviewed", "window": ..., "slice": ..., "plane": ..., ...}``. A draft is
what the network said; a caption that a person saved is reviewed. ``window``, ``slice`` and ``plane`` say which picture
of the image the caption is about, so that training shows the network that very picture.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.predictor import InputError

TAG = "caption"
MAX_CHARACTERS = 10_000
DRAFT, REVIEWED = "draft", "reviewed"


def read_label(path: str | Path) -> dict[str, Any]:
    """The stored caption.

    Raises:
        InputError: the file is not a caption.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        raise InputError(f'{Path(path).name}: is not a caption; save JSON such as {{"caption": "..."}}') from None
    return checked_label(content, Path(path).name)


def checked_label(content: Any, name: str) -> dict[str, Any]:
    """``content`` with a caption that is text and a status that is known.

    Raises:
        InputError: it has no such caption.
    """
    caption = content.get("caption") if isinstance(content, dict) else None
    if not isinstance(caption, str) or not caption.strip():
        raise InputError(f'{name}: has no caption; save JSON such as {{"caption": "..."}}')
    if len(caption) > MAX_CHARACTERS:
        raise InputError(f"{name}: the caption has {len(caption):,} characters; {MAX_CHARACTERS:,} are the most")
    status = content.get("status", REVIEWED)
    if status not in (DRAFT, REVIEWED):
        raise InputError(f"{name}: the status is {status!r}; give '{DRAFT}' or '{REVIEWED}'")
    return {**content, "caption": " ".join(caption.split()), "status": status}


def draft_label(reply: Mapping[str, Any]) -> dict[str, Any]:
    """The label of a caption that the network just made."""
    kept = ("caption", "confidence", "window", "slice", "plane", "modality", "model_version", "options")
    return {"status": DRAFT, **{name: reply.get(name) for name in kept}}
