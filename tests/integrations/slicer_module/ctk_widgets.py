"""CTK's widgets that the panel uses, as far as it uses them."""

from __future__ import annotations

import types

import pythonqt
from PySide6 import QtCore, QtGui, QtWidgets
from pythonqt import qt

HEADER = 26


class _Collapsing:
    """Hides its children while it is collapsed."""

    _is_collapsed = False

    def is_collapsed(self) -> bool:
        return self._is_collapsed

    def set_collapsed(self, value: bool) -> None:
        changed, self._is_collapsed = self._is_collapsed != bool(value), bool(value)
        if changed and self.isVisible():
            self._apply()

    def showEvent(self, event: QtGui.QShowEvent) -> None:
        super().showEvent(event)
        if self._is_collapsed:  # set by the .ui file before there were any children
            self._apply()

    def _apply(self) -> None:
        for child in self.findChildren(QtWidgets.QWidget, options=QtCore.Qt.FindDirectChildrenOnly):
            if self._is_collapsed:
                child.setProperty("wasHidden", child.isHidden())
                child.setVisible(False)
            elif child.property("wasHidden") is not None:
                child.setVisible(not child.property("wasHidden"))
        self.setMaximumHeight(HEADER + 2 if self._is_collapsed else 16777215)
        self.update()


class ctkCollapsibleButton(_Collapsing, pythonqt.as_pythonqt(QtWidgets.QWidget)):
    """A button that shows and hides what is under it."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._text = ""
        self.setContentsMargins(0, HEADER, 0, 0)
        self.setMinimumHeight(HEADER + 2)

    def get_text(self) -> str:
        return self._text

    def set_text(self, value: str) -> None:
        self._text = value
        self.update()

    text = QtCore.Property(str, get_text, set_text)
    collapsed = QtCore.Property(bool, _Collapsing.is_collapsed, _Collapsing.set_collapsed)

    def paintEvent(self, _event: QtGui.QPaintEvent) -> None:
        painter = QtWidgets.QStylePainter(self)
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, QtWidgets.QWidget.width(self), HEADER - 2)
        painter.drawControl(QtWidgets.QStyle.CE_PushButtonBevel, option)
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(6, 7, 10, 10)
        kind = QtWidgets.QStyle.PE_IndicatorArrowRight if self.collapsed else QtWidgets.QStyle.PE_IndicatorArrowDown
        painter.drawPrimitive(kind, arrow)
        painter.drawText(option.rect.adjusted(22, 0, 0, 0), QtCore.Qt.AlignVCenter | QtCore.Qt.AlignLeft, self._text)


class ctkCollapsibleGroupBox(_Collapsing, pythonqt.as_pythonqt(QtWidgets.QGroupBox)):
    """A group box that shows and hides what is in it; its arrow stands before the title."""

    collapsed = QtCore.Property(bool, _Collapsing.is_collapsed, _Collapsing.set_collapsed)

    def _apply(self) -> None:
        super()._apply()
        title = self.title.lstrip("\u25b8\u25be ")
        self.title = ("\u25b8 " if self._is_collapsed else "\u25be ") + title
        self.setFlat(self._is_collapsed)


class ctkPathLineEdit(pythonqt.as_pythonqt(QtWidgets.QWidget)):
    """A line for a path, with a button that opens a dialog."""

    Dirs = 1
    currentPathChanged = QtCore.Signal(str)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.filters = 0
        self._line, button = QtWidgets.QLineEdit(), QtWidgets.QToolButton()
        button.setText("...")
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._line)
        layout.addWidget(button)
        self._line.textChanged.connect(self.currentPathChanged)

    @property
    def currentPath(self) -> str:
        return self._line.text()

    @currentPath.setter
    def currentPath(self, value: str) -> None:
        self._line.setText(str(value or ""))


class ctkFlowLayout(QtWidgets.QLayout):
    """Items side by side, broken into lines."""

    GAP = 4

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._items: list[QtWidgets.QLayoutItem] = []

    def addItem(self, item: QtWidgets.QLayoutItem) -> None:
        self._items.append(item)

    def count(self) -> int:
        return len(self._items)

    def itemAt(self, index: int) -> QtWidgets.QLayoutItem | None:
        return self._items[index] if 0 <= index < len(self._items) else None

    def takeAt(self, index: int) -> QtWidgets.QLayoutItem | None:
        return self._items.pop(index) if 0 <= index < len(self._items) else None

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        return self._place(QtCore.QRect(0, 0, width, 0), move=False)

    def sizeHint(self) -> QtCore.QSize:
        return self.minimumSize()

    def minimumSize(self) -> QtCore.QSize:
        size = QtCore.QSize()
        for item in self._items:
            size = size.expandedTo(item.minimumSize())
        return size

    def setGeometry(self, rect: QtCore.QRect) -> None:
        super().setGeometry(rect)
        self._place(rect, move=True)

    def _place(self, rect: QtCore.QRect, *, move: bool) -> int:
        x, y, line = rect.x(), rect.y(), 0
        for item in self._items:
            hint = item.sizeHint()
            if x > rect.x() and x + hint.width() > rect.right() + 1:
                x, y, line = rect.x(), y + line + self.GAP, 0
            if move:
                item.setGeometry(QtCore.QRect(QtCore.QPoint(x, y), hint))
            x, line = x + hint.width() + self.GAP, max(line, hint.height())
        return y + line - rect.y()


def module() -> types.ModuleType:
    """The module ``ctk``."""
    made = types.ModuleType("ctk")
    for item in (ctkCollapsibleButton, ctkCollapsibleGroupBox, ctkPathLineEdit, ctkFlowLayout):
        setattr(made, item.__name__, item)
        pythonqt.register(item.__name__, item)
    made.__getattr__ = lambda name: type(name, (qt.QWidget,), {})  # named by Slicer's own code, not used by the panel
    return made
