"""Captions of plane, modality, organ and finding, in one mould or in several templates.

Which template an image gets is drawn from its name, so it is the same each time. A caption that `read_fields` would not
read as it was meant falls back to the mould, so that the fields of all composed captions stay readable.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache

from scripts.concepts.fields import (
    FIELDS,
    canonical,
    is_name,
    read_fields,
    split_finding,
    with_finding,
)
from scripts.data.composed import capitalised
from scripts.data.composed import composed_caption as sentence_of

_OPENINGS = (
    "{plane} {modality} of the {organ}",
    "{modality} of the {organ}, {plane} {kind},",
    "{plane} view of the {organ} on {modality}",
    "{modality} of the {organ} in the {plane} {kind}",
    "{organ}, {plane} {modality}",
    "The {organ} on {plane} {modality}",
)
_VERBS = ("showing", "showing", "demonstrating", "revealing")
_PLANES = ("axial", "sagittal", "coronal", "transverse", "longitudinal", "oblique")
_SLOTS = {"{plane}": "(?P<plane>.+?)", "{modality}": "(?P<modality>.+?)", "{organ}": "(?P<organ>.+)", "{kind}": r"\w+"}
_FIRST = re.compile(
    rf"(?P<opening>.+?),?(?: (?:{'|'.join(dict.fromkeys(_VERBS))}) (?P<finding>.+?)"
    r"| with (?P<said>no abnormality|an abnormal appearance))?\.(?P<rest>(?: [A-Z].*)?)"
)


def composed_caption(fields: Mapping[str, str | None], name: str = "") -> str:
    """One sentence of the known fields: "Axial CT of the chest showing pneumonia."; empty where none is known.

    Args:
        fields: words of plane, modality, organ and abnormality; None and "" are not known.
        name: of the image, which a template is drawn by; "" takes the mould.
    """
    known = {field: text.strip().rstrip(".") for field in FIELDS if (text := fields.get(field))}
    mould = _mould(known)
    if not name or not {"modality", "organ"} <= known.keys():
        return mould
    drawn = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
    drawn, verb = divmod(drawn, len(_VERBS))
    opening = _OPENINGS[drawn % len(_OPENINGS)] if "plane" in known else "{modality} of the {organ}"
    plane, finding = known.get("plane", ""), known.get("abnormality")
    if plane[1:].islower():
        plane = plane.lower()  # "AP" and "Mammo - CC" stay
    kind = "plane" if plane in _PLANES else "view"
    text = opening.format(plane=plane, kind=kind, modality=known["modality"], organ=known["organ"])
    text = with_finding(text if finding else text.rstrip(","), finding)
    text = capitalised(text.replace(" showing ", f" {_VERBS[verb]} ", 1))
    return text if read_fields(text) == read_fields(mould) else mould


def reworded_caption(caption: str, name: str) -> str:
    """A caption of the mould in the template that its image's name draws; any other caption as it is."""
    parts = mould_parts(caption)
    return composed_caption(parts, name) if parts and {"modality", "organ"} <= parts.keys() else caption


def mould_parts(caption: str) -> dict[str, str]:
    """The words of plane, modality, organ and abnormality of a caption that is the mould and no more; else empty."""
    opening, finding = split_finding(caption)
    view, _, organ = opening.partition(" of the ")
    modality = read_fields(caption).modality or ""
    if not modality or not view.lower().endswith(modality):
        return {}
    plane = view[: len(view) - len(modality)].strip()
    parts = {"plane": plane, "modality": view[len(plane) :].strip(), "organ": organ, "abnormality": finding or ""}
    parts = {field: text for field, text in parts.items() if text}
    if plane and not is_name("plane", plane):
        return {}
    return parts if _mould(parts).lower() == caption.lower() else {}


@lru_cache(maxsize=4096)
def in_mould(caption: str) -> str:
    """The mould of a caption in any of the templates; any other caption as it is.

    Words of captions that an encoder learns to see are those of the mould: "view" and "on" are in no image.
    """
    first = _FIRST.fullmatch(caption)
    for pattern in _TEMPLATES if first else ():
        parts = found.groupdict() if (found := pattern.fullmatch(first["opening"])) else {}
        if parts and all(is_name(field, parts[field]) for field in ("plane", "modality") if field in parts):
            parts = {field: _inside(text) for field, text in parts.items()}
            finding = first["finding"] or (first["said"] or "").removeprefix("an ")
            return _mould({**parts, "abnormality": finding}) + first["rest"]
    return caption


def _inside(words: str) -> str:
    """Words from the beginning of a sentence as they are within one: "Chest" is "chest", "CT" and "X-ray" stay."""
    return words[0].lower() + words[1:] if words[1:2].islower() else words


def _template(opening: str) -> re.Pattern[str]:
    """An opening as a pattern of the words in its slots."""
    pattern = re.escape(opening.rstrip(",")).replace(r"\{", "{").replace(r"\}", "}")
    for slot, words in _SLOTS.items():
        pattern = pattern.replace(slot, words)
    return re.compile(pattern, re.IGNORECASE)


_TEMPLATES = [_template(opening) for opening in (*_OPENINGS, "{modality} of the {organ}")]


def full_organ(organ: str) -> str:
    """An organ by its name, what it takes in within brackets: "skull and contents" is "head (skull and contents)"."""
    name = canonical("organ", organ.lower())
    return organ if name is None or name in organ.lower() else f"{name} ({organ})"


def _mould(known: Mapping[str, str]) -> str:
    """ "Axial CT of the chest showing pneumonia.", or "... with no abnormality."."""
    finding = known.get("abnormality")
    before = sentence_of({**known, "abnormality": ""}) or "Image" * bool(finding)
    return with_finding(before.removesuffix("."), finding)
