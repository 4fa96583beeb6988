"""Question sets as captions: answers to plane, modality, organ and abnormality make one sentence an image.

Which of the four a question asks is told by a column of the set (its topic), or by the question's words. Answers of yes
and no state nothing by themselves and are left out of the sentence; all questions are kept in the entry as ``qa``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_ASKED = {
    "plane": r"\bplane\b|\bview\b|projection|orientation of (?:the|this) (?:image|scan|slice)",
    "modality": r"modality|imaging (?:method|technique|mode)|type of (?:scan|image|imaging|mri|mr|ct)|"
    r"(?:how|method).* (?:image|scan) (?:taken|acquired|obtained)|mr weighting|"
    r"is this an? (?:mri|ct|x-?ray|ultrasound)",
    "organ": r"organ|part of (?:the )?body|body part|which (?:region|area) of the body",
    "abnormality": r"abnormal|wrong with|alarming|diagnos|disease|what is (?:the )?(?:primary|most)",
}
_PATTERNS = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in _ASKED.items()}
_SAYS_NOTHING = {"yes", "no", "unknown", "none", "not applicable", "n/a", ""}


def asked_field(question: str, topic: str = "") -> str | None:
    """Which field a question asks for; None for another question."""
    for text in (topic, question):
        for name, pattern in _PATTERNS.items():
            if text and (text.strip().lower() == name or pattern.search(text)):
                return name
    return None


def answered_fields(questions: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    """Field to its first answer that states something; ``questions`` are (question, answer, topic)."""
    found: dict[str, str] = {}
    for question, answer, topic in questions:
        name = asked_field(question, topic)
        if name and answer.strip().lower().rstrip(".") not in _SAYS_NOTHING:
            found.setdefault(name, answer.strip())
    return found


def question_text(questions: Iterable[tuple[str, str, str]]) -> str:
    """All questions with their answers, one after another: "What plane is this? axial. ..."."""
    return " ".join(
        f"{question.strip().rstrip('?')}? {answer.strip().rstrip('.')}." for question, answer, _ in questions
    )
