"""Phrases in a report, each stated, denied or uncertain, by the words before and after it in its sentence.

The rules are those of NegEx (Chapman et al., J Biomed Inform 2001): a trigger before a phrase ("no", "without evidence
of") or after it ("is excluded", "has resolved") reaches to the end of the clause, at most 8 words far. "No change in"
and "not only" trigger nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

PRESENT, UNCERTAIN, ABSENT = "present", "uncertain", "absent"
REACH = 8
"""So many words lie at most between a trigger and its phrase."""
_WORD = re.compile(r"[a-z0-9]+(?:[-'][a-z0-9]+)*|[.;:,()]")
_ENDS = frozenset([".", ";", ":", "but", "however", "although", "though", "except", "with", "which", "aside", "apart",
                   "there", "presence"])  # fmt: skip


def _triggers(text: str) -> list[tuple[str, ...]]:
    return sorted((tuple(line.split()) for line in text.split("|")), key=len, reverse=True)


_NOTHING = _triggers(
    "no significant interval change|no significant change|no interval change|not certain if|no change|"
    "no increase|not only|without change|no longer|gram negative"
)
_DENIED = _triggers(
    "no radiographic evidence of|no evidence of|without evidence of|interval removal of|free of|negative for|"
    "absence of|rule out|ruled out|resolution of|clear of|rather than|unremarkable for|no definite|no focal|"
    "removal of|no|without|denies|not|resolved|neither|nor|never|excludes"
)
_DENIED_AFTER = _triggers(
    "is not seen|are not seen|has been removed|have been removed|is excluded|are excluded|has resolved|"
    "have resolved|not seen|not identified|is absent|are absent|not present|not demonstrated|is unlikely|"
    "not visualized|not evident|resolved|removed|unlikely"
)
_UNSURE = _triggers(
    "cannot be excluded|may represent|may reflect|could represent|suspicious for|suggestive of|question of|"
    "cannot exclude|concerning for|concern for|worrisome for|not exclude|possible|possibly|probable|probably|"
    "may|might|could|likely|suspected|suggesting|suggests|questionable|equivocal|versus|or|consider|"
    "differential|presumed|potentially|perhaps"
)
_UNSURE_AFTER = _triggers(
    "can not be excluded|cannot be excluded|not entirely excluded|is not excluded|not excluded|is possible|"
    "are possible|is suspected|is questioned|is likely|possible|suspected|versus"
)
_NOT_EXCLUDED = _triggers("cannot be excluded|can not be excluded|not excluded|is not excluded")


def words_of(text: str) -> list[str]:
    """Lower-case words of a text, punctuation that ends clauses among them."""
    return _WORD.findall(text.lower())


def clauses(words: Sequence[str]) -> Iterator[list[str]]:
    """Words of each sentence; commas and brackets stay in it."""
    sentence: list[str] = []
    for word in words:
        if word in (".", ";"):
            if sentence:
                yield sentence
            sentence = []
        else:
            sentence.append(word)
    if sentence:
        yield sentence


def status_at(sentence: Sequence[str], start: int, end: int) -> str:
    """Whether what stands at ``sentence[start:end]`` is stated, denied or uncertain."""
    before = list(_clause(reversed(sentence[:start])))[::-1]
    after = list(_clause(sentence[end:]))
    before = _without(before, _NOTHING)
    if _has(before, _DENIED) or _has(after, _DENIED_AFTER):
        return UNCERTAIN if _has(after, _NOT_EXCLUDED) else ABSENT
    if _has(before, _UNSURE) or _has(after, _UNSURE_AFTER):
        return UNCERTAIN
    return PRESENT


def _clause(words: Iterable[str]) -> Iterator[str]:
    """The words up to the end of the clause, at most `REACH` of them; commas do not count."""
    count = 0
    for word in words:
        if word in _ENDS or count == REACH:
            return
        if word not in ",()":
            count += 1
            yield word


def _without(words: list[str], triggers: Sequence[tuple[str, ...]]) -> list[str]:
    """Words after the last of these triggers, which stop those before them."""
    for trigger in triggers:
        for start in range(len(words) - len(trigger), -1, -1):
            if tuple(words[start : start + len(trigger)]) == trigger:
                return words[start + len(trigger) :]
    return words


def _has(words: Sequence[str], triggers: Sequence[tuple[str, ...]]) -> bool:
    return any(
        tuple(words[start : start + len(trigger)]) == trigger
        for trigger in triggers
        for start in range(len(words) - len(trigger) + 1)
    )
