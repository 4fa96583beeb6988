"""The caption on the panel: its text, its doubts, the findings considered, and a button for every word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ImageCaptioningLib.drafts import Draft
from slicer.i18n import tr as _

from .chips import Chips
from .planes import plane_name

MAP, REGION = 0, 1


class CaptionBox:
    """Shows a draft and what the user makes of it.

    Args:
        ui: widgets of ``Caption.ui``.
        show_word: called with a word's index, or None for the whole caption, and `MAP` or `REGION`.
        hide_word: called when nothing is to be shown.
    """

    def __init__(self, ui: Any, show_word: Callable[[int | None, int], None], hide_word: Callable[[], None]) -> None:
        self.ui = ui
        self.draft: Draft | None = None
        self._kept = ""
        self._show_word, self._hide_word = show_word, hide_word
        self.words = Chips(ui.wordsWidget, self._on_word, checkable=True)
        self.findings = Chips(ui.findingsWidget, self._on_finding, checkable=False)
        ui.showAsComboBox.connect("currentIndexChanged(int)", self._on_show_as)
        self.clear()

    @property
    def text(self) -> str:
        return self.ui.captionEdit.toPlainText()

    @property
    def has_unkept_edit(self) -> bool:
        """The user changed the text since it came or was kept."""
        return self.draft is not None and self.text.split() != self._kept.split()

    def show(self, draft: Draft, text: str | None = None) -> None:
        """Show a draft, with the text that a person made of it where there is one."""
        self.draft, self._kept = draft, draft.text if text is None else text
        self.ui.captionEdit.setPlainText(self._kept)
        self.ui.aboutLabel.setText(about(draft))
        reason = draft.withheld_because
        doubt = [withheld_text()] if draft.text else []  # without words there is nothing to edit or confirm
        self.ui.withheldLabel.setText("\n".join([*doubt, reason] if reason else doubt))
        self.ui.withheldLabel.setVisible(draft.withheld)
        self._show_doubts(draft)
        self._show_findings(draft)
        self.words.fill([_("whole caption"), *draft.words] if draft.words else [])
        self.ui.wordsFrame.setVisible(bool(draft.words))

    def clear(self) -> None:
        """Show nothing."""
        self.draft, self._kept = None, ""
        self.ui.captionEdit.setPlainText("")
        self.ui.aboutLabel.setText("")
        for frame in (self.ui.withheldLabel, self.ui.doubtFrame, self.ui.findingsFrame, self.ui.wordsFrame):
            frame.setVisible(False)

    def kept(self) -> None:
        """The text is safe now, in the scene or elsewhere."""
        self._kept = self.text

    def _show_doubts(self, draft: Draft) -> None:
        rows = (
            (draft.likely, self.ui.kindTitle, self.ui.kindBar, self.ui.kindLabel),
            (draft.finding_likely, self.ui.findingTitle, self.ui.findingBar, self.ui.findingLabel),
        )
        for chance, title, bar, label in rows:
            is_unstated = title is self.ui.findingTitle and draft.states_finding is False
            for widget in (title, bar, label):
                widget.setVisible(chance is not None or is_unstated)
            bar.setValue(round(100 * (chance or 0)))
            if chance is not None:
                label.setText(_("{percent} % likely right").format(percent=round(100 * chance)))
            elif is_unstated:
                label.setText(_("not stated"))
        self.ui.doubtFrame.setVisible(any(chance is not None for chance, *_widgets in rows) or bool(draft.similar))
        near = "\n".join([_("Similar training cases (distance):"), *draft.similar]) if draft.similar else ""
        self.ui.doubtFrame.setToolTip(near)

    def _show_findings(self, draft: Draft) -> None:
        found = draft.findings
        texts = [
            finding.name + ("" if finding.probability is None else f"  {100 * finding.probability:.0f} %")
            for finding in found
        ]
        tips = [_("stated in the caption") if finding.stated else _("considered, not stated") for finding in found]
        self.findings.fill(texts, tips)
        for button, finding in zip(self.findings.buttons, found):
            font = button.font
            font.setBold(finding.stated)
            button.setFont(font)
        self.ui.findingsFrame.setVisible(bool(found))

    def _on_word(self, number: int, down: bool) -> None:
        if down:
            self._show_word(None if number == 0 else number - 1, self.ui.showAsComboBox.currentIndex)
        else:
            self._hide_word()

    def _on_show_as(self, _index: int) -> None:
        down = [number for number, button in enumerate(self.words.buttons) if button.isChecked()]
        if down:
            self._hide_word()
            self._on_word(down[0], True)

    def _on_finding(self, number: int, _down: bool) -> None:
        """Put a finding in place of the selected words, or where the cursor is."""
        self.ui.captionEdit.insertPlainText(self.draft.findings[number].name)
        self.ui.captionEdit.setFocus()


def withheld_text() -> str:
    """What the panel says of a caption that the captioner doubts."""
    return _("Withheld: the captioner is not sure enough of this caption. Edit it, or confirm it when you pass it on.")


def about(draft: Draft) -> str:
    """Which slice, which window and whose, which model."""
    picture = draft.picture
    where = plane_name(picture.plane or picture.orientation.lower())
    where += "" if picture.plane is None else f" {picture.index}"
    parts = [_("{slice} of {volume}").format(slice=where, volume=draft.volume.GetName())]
    if picture.frame is not None:
        parts.append(_("frame {number}").format(number=picture.frame + 1))
    if picture.inside:
        parts.append(_("only inside {segment}").format(segment=picture.inside))
    if draft.window:
        by = _("chosen by the captioner") if picture.values is not None else _("as shown")
        parts.append(_("window {window} {by}").format(window=draft.window, by=by))
    if draft.model_version:
        parts.append(_("model {version}").format(version=draft.model_version))
    return ", ".join(parts)
