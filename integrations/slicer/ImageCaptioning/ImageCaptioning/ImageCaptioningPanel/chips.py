"""A row of small buttons that breaks into lines like words do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ctk
import qt


class Chips:
    """Buttons in a widget that is empty at first.

    Args:
        widget: where they go.
        pressed: called with a button's number, and whether it is down now.
        checkable: whether a button stays down; at most one does.
    """

    def __init__(self, widget: Any, pressed: Callable[[int, bool], None], *, checkable: bool) -> None:
        self._pressed, self._checkable = pressed, checkable
        self._layout = ctk.ctkFlowLayout()
        self._layout.setContentsMargins(0, 0, 0, 0)
        widget.setLayout(self._layout)
        self.buttons: list[Any] = []

    def fill(self, texts: Sequence[str], tips: Sequence[str] = ()) -> None:
        """Show these buttons instead of those that are there."""
        for button in self.buttons:
            self._layout.removeWidget(button)
            button.setParent(None)
            button.deleteLater()
        self.buttons = []
        for number, text in enumerate(texts):
            button = qt.QToolButton()
            button.setText(text)
            button.setCheckable(self._checkable)
            if number < len(tips):
                button.setToolTip(tips[number])
            button.connect("clicked()", lambda number=number: self._press(number))
            self._layout.addWidget(button)
            self.buttons.append(button)

    def release(self) -> None:
        """Let every button come up."""
        for button in self.buttons:
            button.setChecked(False)

    def _press(self, number: int) -> None:
        down = self.buttons[number].isChecked()
        for other, button in enumerate(self.buttons):
            if other != number:
                button.setChecked(False)
        self._pressed(number, down)
