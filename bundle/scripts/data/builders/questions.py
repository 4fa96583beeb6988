"""Question sets as captions: answers to plane, modality, organ and abnormality make one sentence an image.

Which of the four a question asks is told by a column of the set (its topic), or by the question's words. Answers of yes
and no state nothing by themselves and are left out of the sentence; all questions are kept in the entry as ``qa``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

FIELDS = ("plane", "modality", "organ", "abnormality")
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
    return f"{sentence[0].upper()}{sentence[1:]}."


def question_text(questions: Iterable[tuple[str, str, str]]) -> str:
    """All questions with their answers, one after another: "What plane is this? axial. ..."."""
    return " ".join(
        f"{question.strip().rstrip('?')}? {answer.strip().rstrip('.')}." for question, answer, _ in questions
    )
