"""The two doubts of a caption as people read them, in one wording for terminal, report, DICOM, FHIR and labels.

``plane, kind, organ: 88 %; finding: not stated``, or ``...; finding: 12 %``. Each is the calibrated chance that this
part of the caption is right. The geometric mean of token probabilities is none of it: it stays in records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KIND, FINDING = "plane, kind, organ", "finding"


@dataclass(frozen=True)
class Doubts:
    """How far a caption may be believed.

    Attributes:
        kind: chance that plane, kind and organ are right; None where nothing was calibrated.
        finding: chance that the stated finding is right; None where none is stated, or nothing was calibrated.
        states_finding: whether the caption states a finding; None for a record that does not say.
    """

    kind: float | None
    finding: float | None
    states_finding: bool | None

    @property
    def kind_text(self) -> str:
        return "not calibrated" if self.kind is None else _percent(self.kind)

    @property
    def finding_text(self) -> str:
        if self.finding is not None:
            return _percent(self.finding)
        return "not stated" if self.states_finding is False else "not calibrated"

    @property
    def text(self) -> str:
        return f"{KIND}: {self.kind_text}; {FINDING}: {self.finding_text}"

    def told(self) -> dict[str, Any]:
        """Chances and words, for a page."""
        return {"kind": self.kind, "finding": self.finding, "kind_text": self.kind_text,
                "finding_text": self.finding_text, "text": self.text}  # fmt: skip


def doubts_of(record: Mapping[str, Any]) -> Doubts:
    """The doubts of a record, also of one that an older version wrote.

    There ``confidence`` was the geometric mean of token probabilities, and ``calibrated_confidence`` what it is now.
    """
    kind = record.get("confidence") if "token_confidence" in record else record.get("calibrated_confidence")
    findings = record.get("findings")
    stated = None if findings is None else any(one.get("stated") for one in findings)
    return Doubts(kind, record.get("finding_confidence"), stated)


def _percent(chance: float) -> str:
    return f"{chance:.0%}".replace("%", " %")
