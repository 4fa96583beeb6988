"""Datalist entries that know some fields, or answers to questions, as entries to learn captions from.

The fields of an entry get their usual names, and null where they are not known: what is not known is not learned
(`fields.known_fields`). An entry without a caption, or with one that is composed of its fields in one mould, gets a
caption composed of them (`wording`), with true sentences of its answers (`answers`). Captions that people wrote stay.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from scripts.concepts.answers import Answer, answered, in_words, modality_of
from scripts.concepts.fields import FIELDS, NO_ABNORMALITY, canonical, read_fields
from scripts.concepts.wording import composed_caption, full_organ, mould_parts, reworded_caption

Entry = dict[str, Any]

COHORT = 20
"""So many entries of a source with one and the same finding: whom it was collected from, not what each image shows."""
SENTENCES = 4
"""Of answers, in one caption."""
_SAME = {"finding": "abnormality", "body": "organ", "body_part": "organ", "region": "organ", "view": "plane"}
_ORGANS = {"abd": "abdomen"}


def patient_findings(entries: Iterable[Entry]) -> dict[tuple[str, str], int]:
    """Findings that tell what patients have, not what each image shows: (source, finding) to how many entries.

    Those are marked "(patient)", or are the one finding of all entries of a source that have any, 20 or more.
    """
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for entry in entries:
        finding = _renamed(entry).get("abnormality")
        if finding and finding.lower() != NO_ABNORMALITY:
            found[str(entry.get("source", ""))][finding] += 1
    return {
        (source, finding): count
        for source, counts in found.items()
        for finding, count in counts.items()
        if finding.lower().endswith("(patient)") or (len(counts) == 1 and count >= COHORT)
    }


def described(
    entry: Entry, name: str, *, of_patients: Iterable[tuple[str, str]] = (), varied: bool = True
) -> Entry | None:
    """An entry with the fields that are known and a caption; None where nothing but an organ is known to make one of.

    "Image of the head." would teach captions to say no more.

    Args:
        entry: of a datalist; ``fields``, ``qa`` and ``caption`` are read.
        name: of the image, which the caption's template is drawn by.
        of_patients: what :func:`patient_findings` gave; such findings are neither said nor learned.
        varied: several templates instead of the mould.
    """
    fields = _renamed(entry)
    dropped = (str(entry.get("source", "")), fields.get("abnormality")) in of_patients
    if dropped:
        fields["abnormality"] = None
    caption = entry.get("caption") or ""
    parts = mould_parts(caption)
    sentences: list[str] = []
    if questions := _questions(entry.get("qa")):
        answers, sentences = answered(questions)
        fields = {field: fields.get(field) or answers.get(field) for field in FIELDS}
    known = {field: text for field in FIELDS if (text := _sure(field, fields.get(field)))}
    if fields:
        entry = {**entry, "fields": {field: known.get(field) for field in FIELDS}}
    if not known or (caption and not parts):
        return entry if caption else None
    composed = {**parts, **known, "abnormality": known.get("abnormality", "" if dropped else parts.get("abnormality"))}
    composed["organ"] = full_organ(composed["organ"]) if composed.get("organ") else ""
    text = composed_caption(composed, name if varied else "")
    if not caption and len(known) == 1 and not sentences:
        return None
    return {**entry, "caption": _with_sentences(text, sentences)}


def _renamed(entry: Entry) -> dict[str, str | None]:
    """The fields of an entry by their usual names; empty where it has none."""
    return {_SAME.get(name, name): value for name, value in (entry.get("fields") or {}).items()}


def _questions(asked: Any) -> list[Answer]:
    """Questions with answers as triples, whether they are lists or objects."""
    rows = [list(one.values()) if isinstance(one, Mapping) else one for one in asked or ()]
    return [(str(row[0]), str(row[1]), str(row[2]) if len(row) > 2 else "") for row in rows if len(row) > 1]


def _sure(field: str, value: str | None) -> str | None:
    """A field's words as captions write them; None for what is no such thing ("contrast" is no modality)."""
    if not value or field == "abnormality":
        return value or None
    value = _ORGANS.get(value.lower(), value)
    if field == "organ":
        return value.lower() if canonical(field, value.lower()) else None
    if field == "plane":
        return in_words(value.lower()) if canonical(field, value.lower()) else None
    return value if canonical(field, value.lower()) == value.lower() else modality_of(value)


def _with_sentences(caption: str, sentences: Iterable[str]) -> str:
    """A caption and the sentences after it that leave its fields as they were."""
    fields, added = read_fields(caption), 0
    for sentence in sentences:
        longer = f"{caption} {sentence}"
        if added < SENTENCES and read_fields(longer) == fields:
            caption, added = longer, added + 1
    return caption


class Describer:
    """Describes the training entries of folders that are joined.

    Args:
        wording: ``varied`` (entries of folders without a validation section are worded in several templates),
            ``all`` (those of the other folders, too) or ``mould``.
        keep_patient_findings: say and learn findings that tell what patients have.
    """

    def __init__(self, wording: str = "varied", keep_patient_findings: bool = False) -> None:
        self.wording, self.keep = wording, keep_patient_findings
        self.options = {"wording": wording, "patient findings": "keep" if keep_patient_findings else "drop"}
        self.notes: list[str] = []

    def __call__(self, entries: Sequence[Entry], held_out: bool) -> Callable[[Entry, str], Entry | None]:
        """What :func:`described` does for these entries; those of folders with held-out ones keep their captions."""
        if held_out:
            return self._reworded if self.wording == "all" else lambda entry, name: entry
        found = {} if self.keep else patient_findings(entries)
        self.notes += [
            f"'{finding}' of {count} entries{f' of {source}' * bool(source)} is what patients have, not what each "
            "image shows: not said"
            for (source, finding), count in found.items()
        ]
        return partial(described, of_patients=found, varied=self.wording != "mould")

    @staticmethod
    def _reworded(entry: Entry, name: str) -> Entry:
        return {**entry, "caption": reworded_caption(entry.get("caption") or "", name)}
