"""The Python modules of Slicer that its PyPI package lacks: i18n, parameterNodeWrapper, ScriptedLoadableModule.

Where ``SLICER_SOURCE`` names a checkout of Slicer, its own files are used instead (``Base/Python/slicer``).
"""

from __future__ import annotations

import enum
import importlib.util
import os
import sys
import types
import typing
import unittest
from pathlib import Path
from typing import Any

import slicer
import vtk
from pythonqt import QtWidgets, qt

NAMES = ("slicer.i18n", "slicer.parameterNodeWrapper", "slicer.ScriptedLoadableModule")


def install(monkeypatch: Any) -> None:
    """Let ``import slicer.i18n`` and the others find them."""
    source = os.environ.get("SLICER_SOURCE")
    modules = _own(Path(source) / "Base" / "Python" / "slicer", monkeypatch) if source else _stand_ins()
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setattr(slicer, name.rpartition(".")[2], module, raising=False)


def _own(folder: Path, monkeypatch: Any) -> dict[str, types.ModuleType]:
    found = {}
    for name in NAMES:
        path = folder / name.rpartition(".")[2]
        is_package = path.is_dir()
        spec = importlib.util.spec_from_file_location(
            name, path / "__init__.py" if is_package else path.with_suffix(".py"),
            submodule_search_locations=[str(path)] if is_package else None,
        )  # fmt: skip
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        found[name] = module
    return found


def _stand_ins() -> dict[str, types.ModuleType]:
    i18n, wrapper, classes = (types.ModuleType(name) for name in NAMES)
    i18n.translate = lambda context, text: slicer.app.translate(context, text)
    i18n.tr = _tr
    wrapper.parameterNodeWrapper, wrapper.WithinRange = _wrapped, WithinRange
    for item in (ScriptedLoadableModule, ScriptedLoadableModuleWidget, ScriptedLoadableModuleLogic,
                 ScriptedLoadableModuleTest):  # fmt: skip
        setattr(classes, item.__name__, item)
    return dict(zip(NAMES, (i18n, wrapper, classes), strict=True))


def _tr(text: str) -> str:
    """The translation in the context of the calling file: its name, behind its package's."""
    file = Path(sys._getframe(1).f_code.co_filename)
    package = f"{file.parent.name}." if (file.parent / "__init__.py").is_file() else ""
    return slicer.app.translate(package + file.stem, text)


class ScriptedLoadableModule:
    def __init__(self, parent: Any) -> None:
        self.parent = parent


class ScriptedLoadableModuleWidget:
    def __init__(self, parent: Any = None) -> None:
        super().__init__()
        self.parent = parent

    def setup(self) -> None:
        self.layout = self.parent.layout()

    def resourcePath(self, name: str) -> str:
        file = Path(sys.modules[type(self).__module__].__file__)
        return str(file.parent / "Resources" / name)


class ScriptedLoadableModuleLogic:
    def getParameterNode(self) -> Any:
        name = type(self).__name__.removesuffix("Logic")
        node = slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.vtkMRMLScriptedModuleNode()
            node.SetSingletonTag(name)
            node.SetModuleName(name)
            node = slicer.mrmlScene.AddNode(node)
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    def delayDisplay(self, message: str) -> None: ...


class WithinRange:
    def __init__(self, minimum: float, maximum: float) -> None:
        self.minimum, self.maximum = minimum, maximum


def _wrapped(cls: type) -> type:
    """A class whose annotated values live in a parameter node; see Slicer's documentation of parameter nodes."""
    hints = typing.get_type_hints(cls)

    def start(self: Any, node: Any) -> None:
        self.parameterNode, self._connected = node, {}

    body: dict[str, Any] = {"__init__": start, "connectGui": _connect_gui, "disconnectGui": _disconnect_gui}
    for name, kind in hints.items():
        body[name] = _parameter(name, kind, getattr(cls, name, None))
    return type(cls.__name__, (), body)


def _parameter(name: str, kind: Any, default: Any) -> property:
    is_node = default is None

    def read(self: Any) -> Any:
        if is_node:
            return self.parameterNode.GetNodeReference(name)
        text = self.parameterNode.GetParameter(name)
        if text == "":
            return default
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            return kind[text]
        return text == "True" if kind is bool else kind(text)

    def write(self: Any, value: Any) -> None:
        if is_node:
            self.parameterNode.SetNodeReferenceID(name, value.GetID() if value is not None else None)
        else:
            self.parameterNode.SetParameter(name, value.name if isinstance(value, enum.Enum) else str(value))

    return property(read, write)


def _connect_gui(self: Any, ui: Any) -> int:
    """Connect the widgets that have a ``SlicerParameterName``; show the parameters' values now and when they change."""
    pairs = []
    for widget in vars(ui).values():
        name = widget.property("SlicerParameterName")
        if name:
            _show(widget, getattr(self, name))
            pairs.append((name, widget, _on_change(self, name, widget)))
            _signal(widget).connect(pairs[-1][2])
    tag = self.parameterNode.AddObserver(
        vtk.vtkCommand.ModifiedEvent,
        lambda *_called: [_show(widget, getattr(self, name)) for name, widget, _f in pairs],
    )
    self._connected[tag] = pairs
    return tag


def _disconnect_gui(self: Any, tag: int) -> None:
    self.parameterNode.RemoveObserver(tag)
    for _name, widget, changed in self._connected.pop(tag):
        _signal(widget).disconnect(changed)


def _on_change(self: Any, name: str, widget: Any) -> Any:
    return lambda *_values: setattr(self, name, _value(self, name, widget))


def _signal(widget: Any) -> Any:
    for name in ("currentNodeChanged", "toggled", "currentIndexChanged", "valueChanged", "textChanged"):
        if hasattr(widget, name):
            return getattr(widget, name)
    raise AssertionError(f"a parameter cannot be shown by {type(widget).__name__}")


def _value(self: Any, name: str, widget: Any) -> Any:
    if hasattr(widget, "currentNode"):
        return widget.currentNode()
    if isinstance(widget, QtWidgets.QComboBox):
        return list(type(getattr(self, name)))[widget.currentIndex]
    return widget.isChecked() if isinstance(widget, QtWidgets.QCheckBox) else widget.property(
        "value" if isinstance(widget, QtWidgets.QSpinBox) else "text")  # fmt: skip


def _show(widget: Any, value: Any) -> None:
    if hasattr(widget, "currentNode"):
        if widget.currentNode() is not value:
            widget.setCurrentNode(value)
    elif isinstance(widget, QtWidgets.QComboBox):
        widget.setCurrentIndex(list(type(value)).index(value))
    elif isinstance(widget, QtWidgets.QCheckBox):
        widget.setChecked(value)
    elif isinstance(widget, QtWidgets.QSpinBox):
        widget.setValue(value)
    elif widget.text != value:
        widget.setText(value)


__all__ = ["install", "qt"]
