"""Plane, modality, organ and abnormality of a caption, and how often they are right.

* BLEU rewards a fluent template; these four answers are what a reader of the caption acts on.
* `read_fields` is the only reader: references and predictions go through the same one, so that a spelling that it
  does not know costs both alike.
* Names are canonical: ``chest`` and ``chest (lung, mediastinum, pleura)`` are one organ, ``PA`` and ``pa`` one plane.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache

import numpy as np

from scripts.data.composed import FIELDS

logger = logging.getLogger(__name__)

# canonical plane <- spellings, as regular expressions over lower-case text
_PLANES = {
    "mammo - mag cc": r"magnified cc|mag cc",
    "mammo - xcc": r"xcc|exaggerated cranio-?caudal",
    "mammo - mlo": r"mlo|medio-?lateral oblique",
    "mammo - cc": r"cc|cranio-?caudal",
    "3d reconstruction": r"3d[- ]reconstruct(?:ed|ion)|3d|three-dimensional",
    "axial": r"axial|transaxial",
    "sagittal": r"sagittal|saggital",
    "coronal": r"coronal",
    "transverse": r"transverse",
    "longitudinal": r"longitudinal",
    "oblique": r"oblique",
    "decubitus": r"decubitus",
    "lateral": r"lateral",
    "frontal": r"frontal",
    "ap": r"ap|antero-?posterior",
    "pa": r"pa|postero-?anterior",
}

# canonical modality -> family; the longest spelling found wins, so "CT with IV contrast" is never read as "CT"
_MODALITIES = {
    "plain-film x-ray": "XR", "x-ray": "XR",
    "mammogram": "MG",
    "ct": "CT", "non-contrast ct": "CT", "contrast-enhanced ct": "CT", "ct with iv contrast": "CT",
    "ct with gi and iv contrast": "CT", "ct with gi contrast": "CT", "ct angiogram": "CT", "ct myelogram": "CT",
    "mri": "MR", "t1-weighted mri": "MR", "t2-weighted mri": "MR", "flair mri": "MR", "non-contrast mri": "MR",
    "contrast-enhanced mri": "MR", "t1-weighted mri with gadolinium": "MR", "diffusion-weighted mri": "MR",
    "non-contrast t1-weighted mri": "MR", "proton-density mri": "MR", "mri adc map": "MR", "mr angiogram": "MR",
    "t2*-weighted gradient-echo mri": "MR", "fat-suppressed t1-weighted mri with gadolinium": "MR",
    "stir mri": "MR", "fiesta mri": "MR", "flair mri with gadolinium": "MR",
    "ultrasound": "US", "doppler ultrasound": "US",
    "angiogram": "AN", "venogram": "AN",
    "barium swallow": "RF", "upper gi series": "RF", "barium enema": "RF", "small-bowel follow-through": "RF",
    "nuclear medicine image": "NM",
    "pet image": "PT", "pet-ct fusion image": "PT",
}  # fmt: skip

_MODALITY_ALIASES = {
    "plain film": "plain-film x-ray", "plain radiograph": "plain-film x-ray", "radiograph": "x-ray", "xray": "x-ray",
    "mammography": "mammogram", "computed tomography": "ct", "cta": "ct angiogram", "ct angiography": "ct angiogram",
    "magnetic resonance imaging": "mri", "magnetic resonance image": "mri", "mr image": "mri", "mr": "mri",
    "mra": "mr angiogram", "mr angiography": "mr angiogram", "angiography": "angiogram", "venography": "venogram",
    "sonogram": "ultrasound", "ultrasonography": "ultrasound", "ultrasonogram": "ultrasound",
    "t1 mri": "t1-weighted mri", "t2 mri": "t2-weighted mri", "t1 weighted mri": "t1-weighted mri",
    "t2 weighted mri": "t2-weighted mri", "flair": "flair mri", "pet": "pet image", "pet-ct": "pet-ct fusion image",
    "scintigraphy": "nuclear medicine image", "scintigram": "nuclear medicine image",
    "bone scan": "nuclear medicine image",
}  # fmt: skip

# canonical organ <- spellings; the order settles captions that name two ("face, sinuses and neck" before "head")
_ORGANS = {
    "face, sinuses and neck": r"face,? (?:sinuses,?|and)|sinuses|neck|orbits?|thyroid",
    "heart and great vessels": r"heart and great vessels|heart|great vessels|cardiac",
    "vascular and lymphatic system": r"vascular and lymphatic(?: system)?|vascular|lymphatic",
    "musculoskeletal system": r"musculoskeletal(?: system)?|extremit(?:y|ies)|knee|hand|foot|shoulder|hip|bones?",
    "genitourinary tract": r"genitourinary(?: tract)?|kidneys?|bladder|uterus|pelvis",
    "abdomen": r"abdomen|gastrointestinal(?: tract)?|abdominal|liver|bowel",
    "chest and abdomen": r"(?:chest|thorax) and abdomen",
    "whole body": r"whole[- ]body",
    "chest": r"chest|lungs?(?:, mediastinum, pleura)?|thorax|thoracic cavity",
    "breast": r"breasts?",
    "spine": r"spine(?: and contents)?|spinal column|cervical spine|lumbar spine",
    "head": r"head|skull(?: and contents)?|brain|cranium",
}

NO_ABNORMALITY = "no abnormality"
UNSPECIFIED_ABNORMALITY = "abnormal appearance"

_VIEW = re.compile(r"\s+of\s+(?:the\s+|a\s+|an\s+)?", re.IGNORECASE)
_FINDING = re.compile(
    r"\b(?:showing|shows?|demonstrat(?:es|ing)|reveal(?:s|ing)|with(?=\s+(?:no|an)\s+abnormal))\b", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"\.\s+(?=[A-Z])|\.\s*$")


@dataclass(frozen=True)
class CaptionFields:
    """The four answers in a caption; None where the caption does not give one."""

    plane: str | None
    modality: str | None
    organ: str | None
    abnormality: str | None

    @property
    def family(self) -> str | None:
        """Modality family (``CT``, ``MR``, ``XR``, ...), which noisy labels such as "MRI" / "T2-weighted MRI" share."""
        return family_of(self.modality)


def family_of(modality: str | None) -> str | None:
    """Family of a canonical modality: "t2-weighted mri" is of "MR"; None for one that has none."""
    return _MODALITIES.get(modality) if modality else None


def _whole(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w*-])(?:{pattern})(?![\w*])")


KEPT = 1024  # parts of captions whose reading is kept: beams begin alike, and a guide reads each at every step
_PLANE_PATTERNS = {name: _whole(pattern) for name, pattern in _PLANES.items()}
_ORGAN_PATTERNS = {name: _whole(pattern) for name, pattern in _ORGANS.items()}
_MODALITY_SPELLINGS = sorted(
    [(name, name) for name in _MODALITIES] + list(_MODALITY_ALIASES.items()), key=lambda pair: -len(pair[0])
)
_MODALITY_PATTERNS = [(_whole(re.escape(spelling)), name) for spelling, name in _MODALITY_SPELLINGS]


def read_fields(caption: str) -> CaptionFields:
    """Read plane, modality, organ and abnormality off one caption.

    Works on the template ``"<Plane> <modality> of the <organ> showing <abnormality>."`` and on free text near it
    ("T2 MRI in the sagittal plane. The spine shows ..."): each field is looked for in its own part of the sentence
    first and in the whole text before the finding second.
    """
    text = " ".join(caption.split())
    finding = _FINDING.search(text)
    sentence_end = _SENTENCE_END.search(text)
    stops = [match.start() for match in (finding, sentence_end) if match]
    opening = text[: min(stops)] if stops else text
    before = text[: finding.start()] if finding else text
    view, _, region = _split_view(opening)
    return CaptionFields(
        plane=_plane_in(view) or _plane_in(before),
        modality=_modality_in(view) or _modality_in(before),
        organ=_organ_in(region) or _organ_in(before),
        abnormality=_abnormality_after(text, finding),
    )


def split_finding(caption: str) -> tuple[str, str | None]:
    """A caption as what it says before its finding, and the finding; None where it says none.

    "Axial CT of the head showing a stroke." is "Axial CT of the head" and "a stroke". Sentences after those that say
    plane, modality and organ are part of what is found: "CT of the abdomen. The aorta is wide." is "CT of the abdomen"
    and "the aorta is wide".
    """
    text = " ".join(caption.split())
    finding = _FINDING.search(text)
    last = finding.start() if finding else len(text)
    stops = [match.start() for match in _SENTENCE_END.finditer(text) if match.start() < last]
    said = replace(read_fields(text), abnormality=None)
    stop = next((place for place in stops if replace(read_fields(text[:place]), abnormality=None) == said), last)
    rest = text[stop:].lstrip(" .")
    found = _abnormality_after(text, finding) if finding and stop == last else normal_abnormality(rest)
    return text[:stop].rstrip(" ,;."), found or None


def with_finding(before: str, finding: str | None) -> str:
    """The sentence of what :func:`split_finding` gave; it ends before the finding where there is none."""
    if finding in (NO_ABNORMALITY, UNSPECIFIED_ABNORMALITY):
        article = "an " if finding == UNSPECIFIED_ABNORMALITY else ""
        return f"{before} with {article}{finding}."
    return f"{before} showing {finding}." if finding else f"{before}." if before else ""


def before_finding(caption: str) -> str:
    """What a caption says before it comes to the finding; all of it where it comes to none."""
    text = " ".join(caption.split())
    finding = _FINDING.search(text)
    return text[: finding.start()] if finding else text


def planes_in(text: str) -> set[str]:
    """All planes and projections that a text names, by their canonical names; within a longer name only that one."""
    found = [(match.span(), name) for name, p in _PLANE_PATTERNS.items() for match in p.finditer(text.lower())]
    return {
        name
        for (start, end), name in found
        if not any(left <= start and end <= right and (left, right) != (start, end) for (left, right), _ in found)
    }


def places_of(field: str, value: str, text: str) -> list[tuple[int, int]]:
    """Where a text says a field's value before its finding: start and end of each spelling of it.

    What stands in brackets right behind an organ explains it and counts with it: "head (skull and contents)".

    Args:
        field: "plane", "modality" or "organ"; value: canonical, as :func:`read_fields` gives it.
        text: with single spaces.
    """
    said = before_finding(text).lower()
    if field == "modality":
        patterns = [pattern for pattern, name in _MODALITY_PATTERNS if name == value]
    else:
        patterns = [(_PLANE_PATTERNS if field == "plane" else _ORGAN_PATTERNS)[value]]
    found = [match.span() for pattern in patterns for match in pattern.finditer(said)]
    if field != "organ":
        return found
    brackets = [(start, end, _BRACKET.match(said, end)) for start, end in found]
    return [(start, bracket.end() if bracket else end) for start, end, bracket in brackets]


_BRACKET = re.compile(r"\s*\([^)]*\)")


def _split_view(opening: str) -> tuple[str, str, str]:
    match = _VIEW.search(opening)
    if match is None:
        return opening, "", ""
    return opening[: match.start()], match.group(), opening[match.end() :]


def _first_match(patterns: Mapping[str, re.Pattern[str]], text: str) -> str | None:
    """The name whose spelling comes first in the text; at the same place the longer spelling wins."""
    found = [
        (match.start(), -len(match.group()), name) for name, p in patterns.items() if (match := p.search(text.lower()))
    ]
    return min(found)[2] if found else None


@lru_cache(maxsize=KEPT)
def _plane_in(text: str) -> str | None:
    return _first_match(_PLANE_PATTERNS, text)


@lru_cache(maxsize=KEPT)
def _modality_in(text: str) -> str | None:
    return next((name for pattern, name in _MODALITY_PATTERNS if pattern.search(text.lower())), None)


@lru_cache(maxsize=KEPT)
def _organ_in(text: str) -> str | None:
    """The organ named in a region phrase; what stands in brackets only explains the word before it."""
    plain = re.sub(r"\([^)]*\)", " ", text) if "(" in text else text
    return _first_match(_ORGAN_PATTERNS, plain) or _first_match(_ORGAN_PATTERNS, text)


def _abnormality_after(text: str, finding: re.Match[str] | None) -> str | None:
    if finding is None:
        return None
    rest = text[finding.end() :].strip()
    if re.match(r"(?:no|without)\s+abnormal", rest, re.IGNORECASE):
        return NO_ABNORMALITY
    if re.match(r"an\s+abnormal\s+appearance", rest, re.IGNORECASE):
        return UNSPECIFIED_ABNORMALITY
    return normal_abnormality(_SENTENCE_END.split(rest, maxsplit=1)[0]) or None


def normal_abnormality(text: str) -> str:
    """A finding in the form in which two are compared: lower case, single spaces, no closing punctuation."""
    return " ".join(text.lower().split()).strip(" .,;:")


def known_fields(caption: str, fields: Mapping[str, str | None] | None = None) -> CaptionFields:
    """What may be learned of an item: as :func:`true_fields`, but what `fields` hold as null is not known.

    A finding that is only called abnormal is not known either: which one it is, nobody says.
    """
    known = true_fields(caption, fields)
    unknown = {name: None for name, value in (fields or {}).items() if name in FIELDS and not value}
    if known.abnormality == UNSPECIFIED_ABNORMALITY:
        unknown["abnormality"] = None
    return replace(known, **unknown)


def true_fields(caption: str, fields: Mapping[str, str | None] | None = None) -> CaptionFields:
    """The right answers for an item: its `fields` where they hold a value, otherwise what its caption says.

    A yes/no abnormality answers a question that is not stored ("is it normal?", "is it abnormal?"), so only the
    caption knows what was meant; there the caption is read. Plane, modality and organ are made canonical as in a
    caption ("CT scan" is "ct"); a value that the reader does not know stays as it is, with a warning.
    """
    read = read_fields(caption)
    if not fields:
        return read
    answers = {name: str(value).lower() for name, value in fields.items() if name in FIELDS and value}
    abnormality = answers.get("abnormality")
    known = {name: _canonical(name, answers[name]) for name in _READERS if name in answers}
    return CaptionFields(
        plane=known.get("plane", read.plane),
        modality=known.get("modality", read.modality),
        organ=known.get("organ", read.organ),
        abnormality=read.abnormality if abnormality in (None, "yes", "no") else normal_abnormality(abnormality),
    )


_READERS: dict[str, Callable[[str], str | None]] = {
    "plane": lambda text: _first_match(_PLANE_PATTERNS, text),
    "modality": _modality_in,
    "organ": _organ_in,
}


def canonical(name: str, value: str) -> str | None:
    """The name of a plane, modality or organ in the form in which captions are read; None for what is none."""
    return _READERS[name](value)


def is_name(name: str, value: str) -> bool:
    """Whether a value names a plane or a modality and says nothing else: "axial", not "axial view"."""
    patterns = _PLANE_PATTERNS.values() if name == "plane" else [pattern for pattern, _ in _MODALITY_PATTERNS]
    return any(pattern.fullmatch(value.lower()) for pattern in patterns)


@lru_cache(maxsize=4096)  # a value is looked up, and warned of, once
def _canonical(name: str, value: str) -> str:
    found = canonical(name, value)
    if found is None:
        logger.warning(
            "the datalist's %s '%s' is no %s that captions are read for: no caption agrees with it", name, value, name
        )
    return found or value


def word_overlap(predicted: str | None, truth: str | None) -> float:
    """F1 of the sets of words of two findings, 0 to 1: partial credit that exact agreement does not give."""
    left, right = (set(re.findall(r"\w+", text.lower())) if text else set() for text in (predicted, truth))
    shared = len(left & right)
    return 2 * shared / (len(left) + len(right)) if shared else 0.0


def field_agreement(
    predictions: Sequence[str],
    references: Sequence[str],
    fields: Sequence[Mapping[str, str | None] | None] | None = None,
) -> dict[str, np.ndarray]:
    """Per-caption agreement with the truth, an array `[N]` of 0/1 (word overlap: 0 to 1) for each field.

    Plane, modality (and its family) and organ count every item: where the reference names no plane, naming none is
    right. Abnormality counts only items whose reference states one; the others hold NaN.
    """
    known = fields if fields is not None else [None] * len(references)
    pairs = [(read_fields(p), true_fields(r, f)) for p, r, f in zip(predictions, references, known, strict=True)]
    agreement = {name: np.array([asdict(p)[name] == asdict(t)[name] for p, t in pairs], float) for name in FIELDS}
    agreement["modality family"] = np.array([p.family == t.family for p, t in pairs], float)
    agreement["abnormality words"] = np.array([word_overlap(p.abnormality, t.abnormality) for p, t in pairs], float)
    unstated = np.array([t.abnormality is None for _, t in pairs], bool)
    for name in ("abnormality", "abnormality words"):
        agreement[name][unstated] = np.nan
    return agreement
