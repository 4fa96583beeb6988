"""Facts that answers to questions on an image state of it: plane, modality and finding, and sentences that are true.

Rules over the forms in which such questions are asked ("Is there a pleural effusion?", "Where is the mass located?",
"Is this a PA film?"). A question that no rule is sure of gives nothing: what cannot be said truly is left out. In
particular a no to "is this an MRI?" names no modality, and a yes to a question with "or" says neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from scripts.concepts.fields import NO_ABNORMALITY, UNSPECIFIED_ABNORMALITY, canonical, planes_in
from scripts.data.composed import capitalised

Answer = tuple[str, str, str]
"""Question, answer and topic, such as ``PLANE``; the topic may be empty."""

LONGEST = 12
"""Words of a finding or a place; longer answers are explanations."""
_YES, _NO = {"yes", "y"}, {"no", "n", "none", "not seen"}
_VAGUE = {"", "unknown", "not sure", "n/a", "na", "both", "maybe", "unclear", "not applicable"}

_LITTLE_WORDS = {"no", "seen", "there", "is", "are", "the", "a", "an", "in", "of", "on"}

_IMAGE = r"(?:image|scan|film|x-?ray|x ray|radiograph|ct|mri|mr|section|study|view|picture|slice|cxr|patient)s?"
_HERE = rf"(?: (?:in|on|at|from|within) (?:this|the|these)(?: \w+)? {_IMAGE})?"
_SEEN = r"present|seen|visible|visualized|visualised|noted|identified|evident|shown|demonstrated"
_NOT_A_THING = re.compile(
    r"\b(?:or|this|these|than|which|what|you|patient|image|other|else|more|most|same|contrast|wrong|pictured|located|"
    rf"{_SEEN}|\w+ly)\b|"
    r"\b(?:well|any|from|in|of|to|placed)$"
)
_THERE = re.compile(
    r"(?:is|are) there (?:any )?(?P<article>an? |the )?(?:(?:evidence|signs?|presence) of )?(?:any |an? )?"
    rf"(?P<what>.+?)(?: (?:{_SEEN}))?{_HERE}"
)
_SEE = re.compile(rf"(?:do|can) you (?:see|identify|appreciate) (?:any )?(?P<article>an? )?(?P<what>.+?){_HERE}")
_SHOWS = re.compile(
    rf"do(?:es)? (?:this|the|these) {_IMAGE} (?:show|demonstrate|depict|reveal) "
    rf"(?:any )?(?P<article>an? )?(?P<what>.+?){_HERE}"
)
_PRESENT = re.compile(rf"(?:is|are) (?:any )?(?P<article>an? )?(?P<what>.+?) (?:{_SEEN}){_HERE}")
_STATE = re.compile(
    r"(?P<be>is|are) (?P<what>the .+?) (?P<state>normal|abnormal|enlarged|midline|fractured|calcified|perforated|"
    rf"dilated|displaced|deviated|shifted|intact|clear|collapsed|hyperinflated|{_SEEN}){_HERE}"
)
_WHERE = re.compile(
    rf"where (?:is|are) (?P<what>the .+?)(?: (?:located|seen|present|found))?{_HERE}|"
    rf"what is the location of (?P<it>the .+?){_HERE}"
)
_WHOLE_NORMAL = re.compile(
    rf"(?:is|are) (?:this|the|these) (?:an? )?(?:{_IMAGE}|findings) (?P<state>normal|abnormal)|"
    rf"is this an? (?P<kind>normal|abnormal) {_IMAGE}|"
    rf"(?:are|is) there (?:any )?(?:an? )?(?P<any>abnormalit(?:y|ies)|abnormal findings?){_HERE}"
)
_WHICH_FINDING = re.compile(
    r"(?:what|which) (?:is|are|does) (?:the )?(?:main |primary )?(?:pathology|abnormalit(?:y|ies)|condition|diagnosis|"
    rf"disease)(?: (?:seen|shown|present|demonstrated|of the patient))?{_HERE}|"
    rf"what (?:pathology|abnormality|condition|disease) is (?:seen|shown|present|demonstrated){_HERE}|"
    rf"what is (?:wrong|abnormal)(?: (?:with|in|about|on) (?:this|the) {_IMAGE})?|describe the pathology{_HERE}"
)
_PRESUPPOSED = re.compile(r"\b(?:this|the) (?:chest |brain |axial )?(mri|ct|x-?ray|radiograph|ultrasound)\b")
_WEIGHTED = (
    (r"t1", "T1-weighted MRI"), (r"t2", "T2-weighted MRI"), (r"flair", "FLAIR MRI"),
    (r"dwi|diffusion", "diffusion-weighted MRI"), (r"adc", "MRI ADC map"), (r"cxr|xr", "X-ray"),
)  # fmt: skip
_ABBREVIATION = re.compile(
    r"\b(?:ct|mri?|adc|pet|iv|gi|stir|flair|fiesta|ap|pa|3d|m?lo|x?cc|t[12](?=[-*])|x(?=-))(?![a-z])"
)


def answered(questions: Iterable[Answer]) -> tuple[dict[str, str], list[str]]:
    """Fields that the answers state, and sentences that are true of the image, in the order of the questions.

    Args:
        questions: question, answer and topic of each.
    """
    asked = [(_plain(question), " ".join(answer.split()).rstrip("."), topic) for question, answer, topic in questions]
    fields: dict[str, str] = {}
    sentences: list[str] = []
    for question, answer, topic in asked:
        for name, value in _stated(question, answer, topic):
            fields.setdefault(name, value)
        if sentence := _sentence(question, answer):
            sentences.append(sentence)
    presupposed = {canonical("modality", m) for q, _, _ in asked for m in _PRESUPPOSED.findall(q) if " or " not in q}
    if "modality" not in fields and len(presupposed) == 1:
        fields["modality"] = in_words(presupposed.pop() or "")
    return fields, _different(sentences)


def modality_of(text: str) -> str | None:
    """The modality that a text names, in the words of captions: "MR - Flair" is "FLAIR MRI"; None for "contrast"."""
    lower = text.lower()
    for pattern, name in _WEIGHTED:
        if re.search(rf"\b(?:{pattern})\b", lower):
            return name
    return in_words(canonical("modality", lower)) if canonical("modality", lower) else None


def in_words(name: str) -> str:
    """A canonical plane or modality as captions write it: "ct with iv contrast" is "CT with IV contrast"."""
    return _ABBREVIATION.sub(lambda found: found.group().upper(), name)


def _plain(question: str) -> str:
    return " ".join(question.lower().replace("is/are", "is").split()).rstrip("?. ")


def _stated(question: str, answer: str, topic: str) -> Iterator[tuple[str, str]]:
    """Fields that one answer states."""
    said, yes = answer.lower(), answer.lower() in _YES
    single = " or " not in question
    if "PLANE" in topic.upper() or " plane" in question:
        planes = planes_in(question if yes and single else "" if said in _NO else answer)
        if len(planes) == 1:
            yield "plane", in_words(next(iter(planes)))
    if "MODALITY" in topic.upper() and said not in _NO:
        asked_itself = yes and single and re.match(r"(?:is|was) th(?:is|e)\b", question)
        named = modality_of(question) if asked_itself else None if yes else modality_of(answer)
        if named:
            yield "modality", named
    if (found := _WHOLE_NORMAL.fullmatch(question)) and (yes or said in _NO):
        asked_normal = "normal" in (found["state"], found["kind"])
        yield "abnormality", NO_ABNORMALITY if yes == asked_normal else UNSPECIFIED_ABNORMALITY
    elif _WHICH_FINDING.fullmatch(question) and _says_something(said):
        yield "abnormality", said


def _says_something(said: str) -> bool:
    return said not in _YES | _NO | _VAGUE and len(said.split()) <= LONGEST


def _sentence(question: str, answer: str) -> str:
    """One question and its answer as a sentence; empty where no rule is sure."""
    said = answer.lower()
    if found := _WHERE.fullmatch(question):
        what = found["what"] or found["it"]
        thing = _thing(what)
        return f"Location of {what}: {said.removeprefix('the ')}." if thing and _says_something(said) else ""
    if said not in _YES | _NO or _WHOLE_NORMAL.fullmatch(question):
        return ""
    no = said in _NO
    if (found := _STATE.fullmatch(question)) and _thing(found["what"]):
        state = "seen" if no and found["state"] == "present" else found["state"]
        return capitalised(f"{found['what']} {found['be']}{' not' * no} {state}.")
    for pattern in (_THERE, _SEE, _SHOWS, _PRESENT):
        found = pattern.fullmatch(question)
        if found and _thing(found["what"]) and not found["what"].startswith("the "):
            be = "are" if _plural(found["what"]) else "is"
            thing = f"{found['article'] or ''}{found['what']}"
            return f"No {found['what']} {be} seen." if no else f"There {be} {thing}."
    return ""


def _thing(words: str) -> bool:
    """Whether words name something that a sentence may be about, and not another question."""
    return 0 < len(words.split()) <= 7 and not _NOT_A_THING.search(words)


def _plural(words: str) -> bool:
    """Whether a thing is several: its head is the last word before "in", "of" and the like."""
    head = re.split(r" (?:in|of|on|at|under|within|around|between|near|along|with) ", words)[0]
    return bool(re.search(r"[^sui]s$", head)) and not head.endswith(("gas", "ascites"))


def _different(sentences: list[str]) -> list[str]:
    """Sentences without those that say again what one before says."""
    kept: list[tuple[set[str], str]] = []
    for sentence in sentences:
        words = set(re.findall(r"\w+", sentence.lower())) - _LITTLE_WORDS
        if all(len(words & other) < 0.6 * min(len(words), len(other)) for other, _ in kept):
            kept.append((words, sentence))
    return [sentence for _, sentence in kept]
