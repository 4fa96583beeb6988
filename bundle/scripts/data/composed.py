"""Captions that are composed of plane, modality, organ and abnormality.

Apart from the builders of datalists: captioning needs the sentence, and none of them.
"""

from __future__ import annotations

from collections.abc import Mapping

FIELDS = ("plane", "modality", "organ", "abnormality")


def composed_caption(fields: Mapping[str, str]) -> str:
    """One sentence of the known fields: "Axial CT of the chest showing pneumonia."; empty where none is known."""
    known = {name: text for name in FIELDS if (text := fields.get(name, "").strip().rstrip("."))}
    if not known:
        return ""
    words = [known.get("plane", ""), known.get("modality", "" if "plane" in known and len(known) == 1 else "image")]
    if organ := known.get("organ"):
        words.append(f"of the {organ.removeprefix('the ')}")
    if finding := known.get("abnormality"):
        words.append(f"showing {finding}")
    sentence = " ".join(filter(None, words))
    return f"{capitalised(sentence)}."


def capitalised(sentence: str) -> str:
    """The sentence with a capital at its beginning, the rest as it is."""
    return f"{sentence[0].upper()}{sentence[1:]}"
