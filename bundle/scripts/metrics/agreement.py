"""Agreement on dangerous words: sides, negations and numbers.

Each check counts only images on which the reference or the prediction says something of the kind, so both a lost
and an invented "left" cost. Images where neither does hold NaN.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from scripts.metrics.statistic import Statistic, mean_statistic

_SIDES = {"left": "left", "left-sided": "left", "lt": "left", "right": "right", "right-sided": "right", "rt": "right",
          "bilateral": "both", "bilaterally": "both", "both": "both"}  # fmt: skip
_NEGATIONS = frozenset(["no", "not", "without", "absent", "negative", "denies", "never", "neither", "nor"])
_SCOPE_ENDS = frozenset([".", ";", ",", "but", "although", "however", "with", "showing", "there", "except"])
_FILLERS = frozenset(
    ["the", "a", "an", "of", "is", "are", "was", "were", "be", "in", "on", "for", "to", "or", "and", "any", "evidence",
     "sign", "signs", "there", "seen", "present", "identified", "this", "that"]
)  # fmt: skip
_NUMBER = re.compile(r"(?<![\w.,/-])(\d+(?:[.,]\d+)*)(?![\w./-]*[A-Za-z]?\d)\s*(mm|cm)?(?![\w/-])", re.IGNORECASE)
_VALUE = r"\d+(?:[.,]\d+)*"
# "2.5 x 3 cm": the unit behind the last number holds for all
_DIMENSIONS = re.compile(rf"({_VALUE})\s*[x×]\s*(?=(?:{_VALUE}\s*[x×]\s*)*{_VALUE}\s*(mm|cm)?)", re.IGNORECASE)


def sides(caption: str) -> frozenset[str]:
    """Sides that a caption names: left, right, both. "Left and right" is both."""
    named = {_SIDES[word] for word in re.findall(r"[a-z]+(?:-sided)?", caption.lower()) if word in _SIDES}
    return frozenset(["both"]) if {"left", "right"} <= named else frozenset(named)


def negated_words(caption: str) -> frozenset[str]:
    """Content words inside the scope of a negation: from the cue to the end of its clause."""
    found: set[str] = set()
    inside = False
    for word in re.findall(r"[a-z0-9'-]+|[.;,]", re.sub(r"n['’]t\b", " not", caption.lower())):
        if word in _NEGATIONS:
            inside = True
        elif word in _SCOPE_ENDS:
            inside = False
        elif inside and word not in _FILLERS:
            found.add(word)
    return frozenset(found)


def numbers(caption: str) -> frozenset[str]:
    """Numbers that a caption states, lengths in millimetres ("3.5 cm" is "35 mm"); names such as T2 or L4 are none."""
    spaced = re.sub(r"(?<=\d)(?=(?:mm|cm)\b)", " ", _DIMENSIONS.sub(r"\1 \2 x ", caption))
    found = [(float(value.replace(",", "")), unit.lower()) for value, unit in _NUMBER.findall(spaced)]
    return frozenset(f"{value * 10:g} mm" if unit == "cm" else f"{value:g} {unit}".strip() for value, unit in found)


def _overlap(left: frozenset[str], right: frozenset[str]) -> float:
    """F1 of two sets; NaN where both are empty."""
    return 2 * len(left & right) / (len(left) + len(right)) if left or right else float("nan")


def _equal(left: frozenset[str], right: frozenset[str]) -> float:
    return float(left == right) if left or right else float("nan")


def agreement_statistics(predictions: Sequence[str], references: Sequence[str]) -> list[Statistic]:
    """Side agreement (equal or not), and F1 of negated words and of numbers, over the images that state any."""
    checks: list[tuple[str, Callable[[str], frozenset[str]], Callable[..., float], str]] = [
        ("laterality", sides, _equal, "same sides, where either names one"),
        ("negation", negated_words, _overlap, "F1 of negated words, where either negates"),
        ("numbers", numbers, _overlap, "F1 of numbers, where either states one"),
    ]
    results = []
    for name, read, score, note in checks:
        scores = [score(read(p), read(r)) for p, r in zip(predictions, references, strict=True)]
        results.append(mean_statistic(name, np.array(scores, float), note))
    return results
