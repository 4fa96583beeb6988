"""Qt as Slicer's Python has it (PythonQt), over PySide6: properties are attributes, signals connect by signature."""

from __future__ import annotations

import os
import types
from collections.abc import Callable
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets  # noqa: E402

KEPT = {"sizeHint", "minimumSizeHint", "layoutDirection", "locale", "cursor"}
"""Properties whose methods Qt itself calls, or the stand-ins."""
FILE_DIALOG: dict[str, str] = {}
"""What the file dialogs answer: name of the function -> path; "" where none is set."""


def _property(name: str) -> property:
    return property(lambda self: self.property(name), lambda self, value: self.setProperty(name, value))


def _connect(self: QtCore.QObject, signature: str, slot: Callable[..., Any]) -> None:
    """``widget.connect("toggled(bool)", f)``: as many arguments arrive as the signature has."""
    name, _bracket, inside = signature.partition("(")
    count = len([part for part in inside.rstrip(")").split(",") if part.strip()])
    getattr(self, name).connect(lambda *values: slot(*values[:count]))


def as_pythonqt(base: type) -> type:
    """A subclass whose Qt properties are Python properties."""
    names = [base.staticMetaObject.property(i).name() for i in range(base.staticMetaObject.propertyCount())]
    virtual = {"text"} if issubclass(base, QtWidgets.QProgressBar) else set()
    body: dict[str, Any] = {name: _property(name) for name in names if name not in KEPT | virtual}
    body["name"] = _property("objectName")
    body["connect"] = _connect
    return type(base.__name__, (base,), body)


class _Loader(QtUiTools.QUiLoader):
    """Makes every widget of a ``.ui`` file one of the classes here."""

    classes: dict[str, type] = {}

    def createWidget(self, class_name: str, parent: QtWidgets.QWidget | None = None, name: str = "") -> Any:
        if class_name not in self.classes:
            raise AssertionError(f"the .ui file uses {class_name}, which the stand-ins do not have")
        widget = self.classes[class_name](parent)
        widget.setObjectName(name)
        return widget


class _FileDialog:
    """The file dialogs answer what the test has put into `FILE_DIALOG`; PythonQt gives the path alone."""

    @staticmethod
    def getSaveFileName(*_asked: Any) -> str:
        return FILE_DIALOG.get("getSaveFileName", "")

    @staticmethod
    def getOpenFileName(*_asked: Any) -> str:
        return FILE_DIALOG.get("getOpenFileName", "")

    @staticmethod
    def getExistingDirectory(*_asked: Any) -> str:
        return FILE_DIALOG.get("getExistingDirectory", "")


class _MenuMixin:
    def addAction(self, text: str) -> Any:
        action = qt.QAction(text, self)
        QtWidgets.QMenu.addAction(self, action)
        return action


def _module() -> types.ModuleType:
    """The module ``qt``: all classes of QtCore, QtGui and QtWidgets, those with properties as PythonQt has them."""
    made = types.ModuleType("qt")
    for source in (QtCore, QtGui, QtWidgets):
        for name in [name for name in dir(source) if name.startswith("Q")]:
            item = getattr(source, name)
            is_object = isinstance(item, type) and issubclass(item, QtCore.QObject)
            setattr(made, name, as_pythonqt(item) if is_object and name not in _PLAIN else item)
    made.QMenu = type("QMenu", (_MenuMixin, made.QMenu), {})
    made.QFileDialog = _FileDialog
    made.QUiLoader = _Loader
    _Loader.classes.update({name: item for name, item in vars(made).items() if isinstance(item, type)})
    return made


_PLAIN = {"QApplication", "QGuiApplication", "QCoreApplication", "QStyle", "QCommonStyle", "QProxyStyle"}
qt = _module()


def application() -> QtWidgets.QApplication:
    """The process's Qt application, off screen."""
    return QtWidgets.QApplication.instance() or QtWidgets.QApplication([])


def register(name: str, item: type) -> None:
    """Let ``.ui`` files use a class."""
    item.connect = _connect  # PySide gives each class that declares signals its own
    _Loader.classes[name] = item
