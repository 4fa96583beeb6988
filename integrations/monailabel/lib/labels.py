"""A caption as MONAI Label stores it: a JSON file, its label tag ``caption``.

``{"caption": text, "status": "draft" | "reviewed", "window": ..., "slice": ..., "plane": ..., ...}``. A draft is
what the network said; a caption that a person saved is reviewed. ``window``, ``slice`` and ``plane`` say which picture
of the image the caption is about, so that training shows the network that very picture. A series may have captions of
several slices: the newest is the label, ``others`` holds the rest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.predictor import InputError

TAG = "caption"
MAX_CHARACTERS = 10_000
MAX_INFO, MAX_DEPTH = 100_000, 20
"""Of what clients add to an image or label: characters of its JSON, and levels of it."""
DRAFT, REVIEWED = "draft", "reviewed"
OTHERS = "others"
JUDGED = ("token_confidence", "finding_confidence", "findings", "abstained", "withheld")
"""What a draft says of its own certainty beside ``confidence``: ``abstained`` where it is withheld, and why."""
_OLD = ("calibrated_confidence",)  # by which name drafts of older versions had their confidence


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
    others = content.get(OTHERS, [])
    if not isinstance(others, list) or not all(
        isinstance(o, dict) and isinstance(o.get("caption"), str) for o in others
    ):
        raise InputError(f"{name}: {OTHERS!r} is no list of captions; leave it out")
    return {**content, "caption": " ".join(caption.split()), "status": status}


def label_text(label: Mapping[str, Any], name: str) -> str:
    """A label as it is written to its file.

    Raises:
        InputError: it holds what JSON or UTF-8 has no place for.
    """
    try:
        text = json.dumps(label, ensure_ascii=False, indent=1, allow_nan=False)
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"{name}: the caption holds half of a character (a lone surrogate); type it again") from None
    except (ValueError, RecursionError):
        raise InputError(f"{name}: the caption's file holds NaN, infinity or too deep a structure") from None
    return text


def checked_info(info: Any) -> dict[str, Any]:
    """What a client adds to an image or label, if the record can hold it.

    Raises:
        InputError: it is no object, too large or too deep.
    """
    if not isinstance(info, dict):
        raise InputError("info is no JSON object; give one such as {}")
    try:
        size, depth = len(json.dumps(info, default=str)), _depth(info)
    except (ValueError, RecursionError):
        size, depth = 0, MAX_DEPTH + 1
    if size > MAX_INFO or depth > MAX_DEPTH:
        raise InputError(f"info has at most {MAX_INFO:,} characters in {MAX_DEPTH} levels; leave out the rest")
    return info


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0)


def draft_label(reply: Mapping[str, Any]) -> dict[str, Any]:
    """The label of a caption that the network just made."""
    kept = ("caption", "confidence", *JUDGED, "plane", "modality", "model_version", "options")
    shown, window = reply.get("slice"), reply.get("window")
    picture = {
        "window": window.get("text") if isinstance(window, Mapping) else window,
        "slice": shown[0] if isinstance(shown, list) and len(shown) == 1 else shown,
    }
    return {"status": DRAFT, **{name: reply.get(name) for name in kept}, **picture}


def judged_by_a_person(label: Mapping[str, Any]) -> dict[str, Any]:
    """A reviewed label without the network's doubts: whoever saved it read the words."""
    return {name: value for name, value in label.items() if name not in (*JUDGED, *_OLD)}


def is_edited(before: Mapping[str, Any], label: Mapping[str, Any]) -> bool:
    """Whether a label is the stored draft, fetched, changed by a person and sent back as it was otherwise.

    Another draft of the network has a confidence of its own.
    """
    sure = ("confidence", "token_confidence")
    same = all(before.get(name) == label.get(name) for name in (*sure, "model_version"))
    is_known = any(before.get(name) is not None for name in sure)
    drafts = before["status"] == label["status"] == DRAFT and is_known
    return drafts and same and before["caption"] != label["caption"]


def after(before: Mapping[str, Any], label: Mapping[str, Any]) -> dict[str, Any]:
    """A reviewed label as it is stored over an earlier one: nothing that a person wrote of another slice is lost.

    A label that does not say which slice it is about is about the earlier one's, and keeps what the network had said.
    """
    kept = ("window", "slice", "plane", "modality", "model_version", "options")
    merged = {**{name: before.get(name) for name in kept}, **label}
    others, same = [], None
    for earlier in ({k: v for k, v in before.items() if k != OTHERS}, *before.get(OTHERS, [])):
        if _picture(earlier) == _picture(merged):
            same = same or earlier
        elif earlier.get("status", REVIEWED) == REVIEWED:
            others.append(earlier)
    if same is not None:
        said = same["caption"] if same.get("status") == DRAFT else same.get("draft")
        merged = {"draft": said, **merged}
    return {**merged, OTHERS: others} if others else {k: v for k, v in merged.items() if k != OTHERS}


def _picture(label: Mapping[str, Any]) -> str:
    """Which picture of its image a caption is about, for comparison."""
    return json.dumps([label.get("plane"), label.get("slice")])
