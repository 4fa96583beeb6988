"""The captions of a volume, one a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from ImageCaptioningLib import scene
from slicer.i18n import tr as _

from .planes import plane_name


class HistoryBox:
    """Lists what was captioned of a volume.

    Args:
        table: the widget.
        chosen: called with the text node of a row that was double-clicked.
    """

    def __init__(self, table: Any, chosen: Callable[[Any], None]) -> None:
        self._table, self._chosen = table, chosen
        self._nodes: list[Any] = []
        table.setHorizontalHeaderLabels([_("Slice"), _("Caption"), _("State")])
        table.verticalHeader().setVisible(False)
        table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.ResizeToContents)
        table.horizontalHeader().setSectionResizeMode(1, qt.QHeaderView.Stretch)
        table.horizontalHeader().setSectionResizeMode(2, qt.QHeaderView.ResizeToContents)
        table.connect("cellDoubleClicked(int,int)", self._on_double_click)

    def show(self, mrml: Any, volume: Any) -> None:
        """List the captions of a volume; none where it is None."""
        self._nodes = sorted(scene.captions_of(mrml, volume), key=_order) if volume is not None else []
        self._table.setRowCount(len(self._nodes))
        for row, node in enumerate(self._nodes):
            for column, text in enumerate((where(node), node.GetText(), state(node))):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(text)
                self._table.setItem(row, column, item)

    def _on_double_click(self, row: int, _column: int) -> None:
        if row < len(self._nodes):
            self._chosen(self._nodes[row])


def where(node: Any) -> str:
    """Such as ``axial 12``, or ``oblique 34.0 mm``; with the frame of a sequence."""
    plane, number, frame = (scene.told(node, name) for name in ("Plane", "Slice", "Frame"))
    if plane:
        place = f"{plane_name(plane)} {number}"
    else:
        place = f"{plane_name(scene.told(node, 'Orientation').lower())} {float(scene.told(node, 'Offset') or 0):.1f} mm"
    return place + (" " + _("frame {number}").format(number=int(frame) + 1) if frame else "")


def state(node: Any) -> str:
    """Whether a person read it."""
    if scene.told(node, "Status") != "accepted":
        return _("draft, edited") if scene.told(node, "Edited") == "yes" else _("draft")
    return _("corrected") if scene.told(node, "Edited") == "yes" else _("accepted")


def _order(node: Any) -> tuple:
    return (
        scene.told(node, "Plane"), int(scene.told(node, "Slice") or 0), int(scene.told(node, "Frame") or 0),
        float(scene.told(node, "Offset") or 0),
    )  # fmt: skip
