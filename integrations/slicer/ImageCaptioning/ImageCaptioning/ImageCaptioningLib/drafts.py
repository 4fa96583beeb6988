"""A caption as it came from the captioner, and how far it may be believed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import overlay
from .images.slices import Picture

NOTICE = "Draft by a machine. For research, not for diagnosis."


@dataclass(frozen=True)
class Finding:
    """A finding that the captioner considered: its chance, and whether the caption says it."""

    name: str
    probability: float | None
    stated: bool


@dataclass(frozen=True)
class Draft:
    """Which slice of which volume was captioned, and the captioner's reply.

    Attributes:
        volume: the MRML node; ask ``volume.GetScene()`` whether it is still there.
        picture: what the captioner saw.
        reply: its answer; keys that are not known here are left alone.
    """

    volume: Any
    picture: Picture
    reply: dict[str, Any]

    @property
    def text(self) -> str:
        """The caption; "" for an image that the captioner does not caption (``withheld_because`` says why)."""
        return str(self.reply["caption"] or "")

    @property
    def model_version(self) -> str:
        return str(self.reply.get("model_version") or "")

    @property
    def likely(self) -> float | None:
        """The chance that plane, modality and organ are right; None where the model has no calibration.

        Captioners of older versions told another number by the name of ``confidence``.
        """
        key = "confidence" if "token_confidence" in self.reply else "calibrated_confidence"
        return _number(self.reply.get(key))

    @property
    def finding_likely(self) -> float | None:
        """The chance that the stated finding is right; None where none is stated, or the model does not say."""
        return _number(self.reply.get("finding_confidence"))

    @property
    def states_finding(self) -> bool | None:
        """Whether the caption states a finding; None where the captioner does not say."""
        told = self.reply.get("findings")
        return None if told is None else any(item.stated for item in self.findings)

    @property
    def similar(self) -> list[str]:
        """Training cases near the image, nearest first: what they are, and at which distance."""
        found = [item for item in self.reply.get("similar") or [] if isinstance(item, dict)]
        return [f"{item.get('text')} ({_number(item.get('distance')) or 0:.2f})" for item in found]

    @property
    def doubts(self) -> str:
        """Both doubts in the words of all faces: ``plane, kind, organ: 88 %; finding: not stated``."""
        finding = "not stated" if self.states_finding is False else "not calibrated"
        told = (percent(self.likely) or "not calibrated", percent(self.finding_likely) or finding)
        return "plane, kind, organ: {}; finding: {}".format(*told)

    @property
    def findings(self) -> list[Finding]:
        """Candidates for the finding, most probable first."""
        found = [_finding(item) for item in self.reply.get("findings") or [] if isinstance(item, dict)]
        return sorted((item for item in found if item.name), key=lambda item: -(item.probability or 0))

    @property
    def withheld(self) -> bool:
        """The captioner is less sure of it than its configuration asks for."""
        return bool(self.reply.get("abstained") or self.reply.get("withheld"))

    @property
    def withheld_because(self) -> str:
        """The captioner's reason, where it gives one."""
        reason = self.reply.get("withheld")
        return reason if isinstance(reason, str) else ""

    @property
    def id(self) -> str:
        """What the captioner calls it, while it keeps it; "" where it does not."""
        return str(self.reply.get("id") or "")

    @property
    def words(self) -> list[str]:
        return overlay.words_of(self.reply)

    def names_nothing(self, word: int | None) -> bool:
        """Whether a word, such as "with", names nothing visible, so that it has neither map nor region."""
        return overlay.names_nothing(self.reply, word)

    @property
    def window(self) -> str:
        """The window that the captioner saw, as ``centre/width`` or in its own words; "" where there is none."""
        shown = self.reply.get("window")
        text = shown.get("text") if isinstance(shown, dict) else shown
        if self.picture.values is not None and text not in (None, "", "none"):
            return str(text)
        return window_text(self.picture)

    def needs_confirmation(self, text: str) -> bool:
        """Whether ``text`` is a withheld caption that nobody changed."""
        return self.withheld and text.split() == self.text.split()

    def is_edited(self, text: str) -> bool:
        return " ".join(text.split()) != " ".join(self.text.split())


def percent(chance: float | None) -> str:
    """``88 %``; "" where there is none."""
    return "" if chance is None else f"{100 * chance:.0f} %"


def window_text(picture: Picture) -> str:
    """``centre/width`` of the view's window; "" for a colour picture."""
    return "" if picture.window is None else "/".join(f"{value:g}" for value in picture.window)


def _number(value: Any) -> float | None:
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None


def _finding(item: dict[str, Any]) -> Finding:
    return Finding(str(item.get("finding") or ""), _number(item.get("probability")), bool(item.get("stated")))
