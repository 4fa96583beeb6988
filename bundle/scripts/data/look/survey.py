"""Survey of a datalist: captions, words, groups, modalities, sizes, what is odd and what cannot be read.

All captions are counted; of images so many are drawn with a seed, opened and measured.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scripts.data.check import provenance_of, sections_of
from scripts.data.datalist import image_paths, load_datalist
from scripts.data.leaks.fingerprints import fingerprint
from scripts.errors import InputError

ODD = {
    "empty": "no caption",
    "one word": "of one word",
    "long": "of more than 200 words",
    "marks": "with marks of de-identification (XXXX, ___)",
    "markup": "with HTML or escapes (<b>, &amp;, \\n)",
    "not ASCII": "with letters outside ASCII",
    "repeated": "said more than once in the section",
}
"""Kinds of odd captions, and how they are called."""
_MARKS = re.compile(r"\bX{3,}\b|_{2,}|\[\*\*")
_MARKUP = re.compile(r"</?\w+>|&\w+;|\\[nt]")
_WORD = re.compile(r"[A-Za-z][A-Za-z'-]+")
_SMALL = {"a", "an", "and", "are", "as", "at", "by", "for", "from", "has", "have", "in", "is", "it", "no", "not", "of",
          "on", "or", "that", "the", "there", "this", "to", "was", "were", "which", "with"}  # fmt: skip


@dataclass
class SectionSurvey:
    """One section: how many entries, words a caption, and odd captions by kind with examples."""

    entries: int = 0
    images: int = 0
    groups: int = 0
    lengths: list[int] = field(default_factory=list)
    odd: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    modalities: Counter[str] = field(default_factory=Counter)


@dataclass
class Survey:
    """A whole datalist.

    Args:
        sections: by name.
        words: how often each word that says something occurs in captions.
        sizes: (width, height) of the drawn images, in pixels as the file has them.
        shown: (path, caption) of the images on the contact sheet.
        unreadable: reasons, each naming its file.
        duplicates: drawn images whose files are equal, byte for byte.
        opened: how many images were drawn.
        provenance: what the datalist says of itself.
    """

    sections: dict[str, SectionSurvey] = field(default_factory=dict)
    words: Counter[str] = field(default_factory=Counter)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    shown: list[tuple[str, str]] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    duplicates: list[list[str]] = field(default_factory=list)
    opened: int = 0
    provenance: dict[str, Any] = field(default_factory=dict)


def survey_datalist(file: str | Path, dataset_dir: str | Path, *, images: int = 500, seed: int = 0) -> Survey:
    """Count a datalist's captions, and open ``images`` drawn ones (0: all).

    Raises:
        InputError: the datalist cannot be read, or has no section with images.
    """
    path = Path(file)
    names = sections_of(path)
    if not names:
        raise InputError(f"datalist {path} has no section with images.")
    survey = Survey(provenance=provenance_of(path))
    lists = [load_datalist(path, section=name, dataset_dir=dataset_dir, check_files=False) for name in names]
    for name, entries in zip(names, lists, strict=True):
        survey.sections[name] = _section(entries, survey.words)
    total = sum(map(len, lists))
    draw = np.random.default_rng(seed)
    chosen = np.arange(total) if not 0 < images < total else np.sort(draw.choice(total, images, replace=False))
    _open(survey, [_entry(lists, int(number)) for number in chosen], draw)
    return survey


def _section(entries: Sequence[dict[str, Any]], words: Counter[str]) -> SectionSurvey:
    found, groups, seen = SectionSurvey(entries=len(entries)), set(), Counter()
    for entry in entries:
        caption = entry.get("caption")
        caption = caption if isinstance(caption, str) else ""
        found.images += len(image_paths(entry))
        found.lengths.append(len(caption.split()))
        found.modalities[str(entry.get("modality") or "not stated")] += 1
        groups.add(hash(str(entry.get("group"))))
        words.update(word for word in map(str.lower, _WORD.findall(caption)) if word not in _SMALL)
        seen[hash(caption.lower())] += 1
        for kind in _kinds(caption):
            found.odd[kind] += 1
            examples = found.examples.setdefault(kind, [])
            if len(examples) < 3:
                examples.append(f"{Path(image_paths(entry)[0]).name}: {caption[:100]}")
    found.groups = len(groups)
    found.odd["repeated"] = sum(count for count in seen.values() if count > 1)
    return found


def _kinds(caption: str) -> list[str]:
    words = caption.split()
    return [
        kind
        for kind, applies in (
            ("empty", not words),
            ("one word", len(words) == 1),
            ("long", len(words) > 200),
            ("marks", bool(_MARKS.search(caption))),
            ("markup", bool(_MARKUP.search(caption))),
            ("not ASCII", not caption.isascii()),
        )
        if applies
    ]


def _entry(lists: Sequence[Sequence[dict[str, Any]]], number: int) -> dict[str, Any]:
    for entries in lists:
        if number < len(entries):
            return entries[number]
        number -= len(entries)
    raise IndexError(number)


def _open(survey: Survey, entries: Sequence[dict[str, Any]], draw: np.random.Generator) -> None:
    """Open the first image of each entry: its size, its bytes' hash, whether it can be read at all."""
    contents: dict[str, list[str]] = {}
    readable: list[tuple[str, str]] = []
    for entry in entries:
        path = image_paths(entry)[0]
        survey.opened += 1
        try:
            contents.setdefault(fingerprint(path).content, []).append(path)
            survey.sizes.append(_size(path))
            readable.append((path, str(entry.get("caption") or "")))
        except InputError as error:
            survey.unreadable.append(str(error))
    survey.duplicates = [paths for paths in contents.values() if len(paths) > 1]
    chosen = np.sort(draw.choice(len(readable), min(24, len(readable)), replace=False)) if readable else []
    survey.shown = [readable[number] for number in chosen]


def _size(path: str) -> tuple[int, int]:
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, ValueError, SyntaxError):
        from scripts.reading import read_case

        height, width = read_case(path).pixels.shape[-2:]
        return int(width), int(height)
