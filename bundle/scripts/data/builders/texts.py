"""Report texts: sections by their headings, marks of de-identification, figure numbers, words."""

from __future__ import annotations

import re

_HEADING = re.compile(
    r"(?:^|\n|(?<=\.)\s)\s*(FINDINGS?(?: AND IMPRESSION)?|IMPRESSION|CONCLUSION|INDICATION|HISTORY|COMPARISON|"
    r"TECHNIQUE|EXAMINATION|RECOMMENDATION|NOTIFICATION|CLINICAL (?:INFORMATION|HISTORY|INDICATION))S?\s*:",
    re.IGNORECASE,
)
_SAME = {"finding": "findings", "conclusion": "impression", "findings and impression": "findings"}
_MARKS = re.compile(r"\[\*\*.*?\*\*\]|\b[xX]{3,}\b|_{2,}|<(?:DATE|NAME|DOCTOR|HOSPITAL|ID)>")
_GAP = re.compile(r"\s+([.,;:)])")


def report_sections(report: str) -> dict[str, str]:
    """A report's sections by lower-case heading, ``findings`` and ``impression`` among them; white space joined.

    What stands before the first heading is ``opening``. Text without headings is all ``opening``.
    """
    pieces = _HEADING.split(report)
    sections = {"opening": tidy(pieces[0])}
    for heading, text in zip(pieces[1::2], pieces[2::2], strict=True):
        name = heading.lower().strip()
        name = _SAME.get(name, name)
        sections[name] = " ".join(filter(None, (sections.get(name, ""), tidy(text))))
    return {name: text for name, text in sections.items() if text}


def drop_marks(text: str) -> str:
    """Text without marks of de-identification (``XXXX``, ``___``, ``[** ... **]``, ``<DATE>``), its gaps closed."""
    return _GAP.sub(r"\1", tidy(_MARKS.sub(" ", text)))


def tidy(text: str) -> str:
    """Runs of white space joined to one space."""
    return " ".join(text.split())
