"""Slicer's MRML widgets that the panel uses, as far as it uses them."""

from __future__ import annotations

from typing import Any

import pythonqt
import slicer
from PySide6 import QtCore, QtWidgets

_Widget = pythonqt.as_pythonqt(QtWidgets.QWidget)


class qMRMLWidget(_Widget):
    """A widget that knows the scene, and hands it on to the widgets in it."""

    mrmlSceneChanged = QtCore.Signal(object)

    def setMRMLScene(self, scene: Any) -> None:
        self.mrmlSceneChanged.emit(scene)
        for child in self.findChildren(QtWidgets.QWidget):
            if isinstance(child, qMRMLNodeComboBox | qMRMLSegmentSelectorWidget):
                child.setMRMLScene(scene)


class qMRMLNodeComboBox(_Widget):
    """A list of the scene's nodes of some types."""

    currentNodeChanged = QtCore.Signal(object)
    nodeTypes = property(
        lambda self: self.property("nodeTypes") or [], lambda self, value: self.setProperty("nodeTypes", list(value))
    )

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._box, self._scene, self._nodes = QtWidgets.QComboBox(), None, [None]
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)
        self._box.currentIndexChanged.connect(lambda _i: self.currentNodeChanged.emit(self.currentNode()))

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent):
            scene.AddObserver(event, lambda *_called: self._list())
        self._list()

    def currentNode(self) -> Any:
        return self._nodes[max(self._box.currentIndex(), 0)]

    def setCurrentNode(self, node: Any) -> None:
        self._list()
        self._box.setCurrentIndex(self._nodes.index(node) if node in self._nodes else 0)

    def _list(self) -> None:
        chosen = self.currentNode()
        hidden = self.property("hideChildNodeTypes") or []
        found = []
        for node in (self._scene.GetNthNode(place) for place in range(self._scene.GetNumberOfNodes())):
            wanted = any(node.IsA(kind) for kind in self.nodeTypes)
            if wanted and not node.GetHideFromEditors() and node.GetClassName() not in hidden:
                found.append(node)
        self._nodes = [None, *found]
        self._box.blockSignals(True)
        self._box.clear()
        self._box.addItems(["None", *(node.GetName() for node in found)])
        self._box.setCurrentIndex(self._nodes.index(chosen) if chosen in self._nodes else 0)
        self._box.blockSignals(False)
        if self.currentNode() is not chosen:
            self.currentNodeChanged.emit(self.currentNode())


class qMRMLSegmentSelectorWidget(_Widget):
    """A segmentation and one of its segments."""

    currentSegmentChanged = QtCore.Signal(str)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._node, self._segment = None, ""
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for text in ("None", ""):
            box = QtWidgets.QComboBox()
            box.addItem(text)
            layout.addWidget(box, 1)

    def setMRMLScene(self, scene: Any) -> None: ...

    def setCurrentNode(self, node: Any) -> None:
        self._node = node

    def setCurrentSegmentID(self, segment: str) -> None:
        self._segment = segment
        self.currentSegmentChanged.emit(segment)

    def currentNode(self) -> Any:
        return self._node

    def currentSegmentID(self) -> str:
        return self._segment


def install() -> None:
    """Put them into the module ``slicer`` and into the loader of ``.ui`` files."""
    for item in (qMRMLWidget, qMRMLNodeComboBox, qMRMLSegmentSelectorWidget):
        setattr(slicer, item.__name__, item)
        pythonqt.register(item.__name__, item)
    for name in ("qMRMLSliderWidget", "qMRMLSpinBox", "qMRMLRangeWidget", "qMRMLSubjectHierarchyComboBox",
                 "qMRMLCheckableNodeComboBox", "qMRMLSubjectHierarchyTreeView"):  # fmt: skip
        setattr(slicer, name, type(name, (_Widget,), {}))  # named by Slicer's own code, not used by the panel
