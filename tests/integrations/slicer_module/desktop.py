"""A Slicer without its window: the module's panel, loaded from its files and shown off screen, on a real MRML scene."""

from __future__ import annotations

import importlib
import sys
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ctk_widgets
import pythonqt
import qmrml_widgets
import slicer
import slicer_python
from pythonqt import QtCore, QtWidgets, application, qt
from scenes import Scene


class App:
    """``slicer.app``, as far as the module asks it."""

    def __init__(self, place: Scene, folder: Path, language: str) -> None:
        self.place, self.temporaryPath, self.applicationLocaleName = place, str(folder / "temporary"), language
        Path(self.temporaryPath).mkdir(parents=True, exist_ok=True)
        self.slicerUserSettingsFilePath = str(folder / "Slicer.ini")
        self.values: dict[str, Any] = {}
        self.copied = ""
        self.started: list[Callable[[], None]] = []
        self._translators: list[Any] = []

    def settings(self) -> Any:
        return types.SimpleNamespace(
            value=lambda key, default="": self.values.get(key, default),
            setValue=self.values.__setitem__,
            remove=lambda key: self.values.pop(key, None),
        )

    userSettings = settings

    def layoutManager(self) -> Any:
        views = self.place.views
        return types.SimpleNamespace(
            sliceViewNames=lambda: tuple(views),
            sliceWidget=lambda name: (
                types.SimpleNamespace(mrmlSliceNode=lambda: views[name]) if name in views else None
            ),
        )

    def moduleManager(self) -> Any:
        return types.SimpleNamespace(connect=lambda *_a: None, disconnect=lambda *_a: None)

    def clipboard(self) -> Any:
        return types.SimpleNamespace(setText=lambda text: setattr(self, "copied", text))

    def connect(self, _signal: str, slot: Callable[[], None]) -> None:
        self.started.append(slot)

    def translate(self, context: str, text: str) -> str:
        return QtCore.QCoreApplication.translate(context, text)

    def installTranslator(self, translator: Any) -> None:
        self._translators.append(translator)
        QtCore.QCoreApplication.installTranslator(translator)

    def remove_translators(self) -> None:
        for translator in self._translators:
            QtCore.QCoreApplication.removeTranslator(translator)


@dataclass
class Desktop:
    """What a test holds of it.

    Attributes:
        place: the scene.
        module: the Python module ``ImageCaptioning``.
        widget: the module's widget after ``setup`` and ``enter``.
        window: the Qt widget that it is in.
        app: ``slicer.app``.
        answers: what questions are answered with, the next first; True where none is left.
        asked: the questions so far.
    """

    place: Scene
    module: Any
    widget: Any
    window: Any
    app: App
    answers: list[bool]
    asked: list[str]

    @property
    def panel(self) -> Any:
        return self.widget.panel

    @property
    def status(self) -> str:
        return self.panel.ui.statusLabel.text

    def wait(self, seconds: float = 120) -> str:
        """Until no job runs; the sentence that is shown then."""
        end = time.monotonic() + seconds
        while self.panel.tasks.busy and time.monotonic() < end:
            application().processEvents()
            self.panel.tasks.look()
            time.sleep(0.01)
        assert not self.panel.tasks.busy, "the job did not end"
        application().processEvents()
        return self.status

    def press(self, button: Any) -> str:
        """Click a button that is enabled, and wait for what it starts."""
        assert button.isEnabled(), f"{button.objectName} cannot be pressed now"
        button.click()
        return self.wait()


@contextmanager
def desktop(place: Scene, folder: Path, monkeypatch: Any, *, language: str = "en_US") -> Iterator[Desktop]:
    """Start the module as Slicer does, in a folder of its own."""
    application()
    app, answers, asked = App(place, folder, language), [], []

    def confirm(text: str, *_more: Any, **_named: Any) -> bool:
        asked.append(text)
        return answers.pop(0) if answers else True

    ctk = ctk_widgets.module()
    for name, item in {"qt": qt, "ctk": ctk}.items():
        monkeypatch.setitem(sys.modules, name, item)
    qmrml_widgets.install()
    for name, item in {"app": app, "mrmlScene": place.mrml, "modules": types.SimpleNamespace(),
                       "dicomDatabase": types.SimpleNamespace(fileForInstance=lambda uid: "")}.items():  # fmt: skip
        monkeypatch.setattr(slicer, name, item, raising=False)
    for name, item in {"mainWindow": lambda: None, "confirmYesNoDisplay": confirm,
                       "findChildren": lambda widget: widget.findChildren(QtWidgets.QWidget),
                       "settingsValue": lambda *_a, **_k: False}.items():  # fmt: skip
        monkeypatch.setattr(slicer.util, name, item)
    _forget_module()
    slicer_python.install(monkeypatch)
    module = importlib.import_module("ImageCaptioning")
    monkeypatch.setattr(slicer.util, "modulePath", lambda _name: module.__file__)
    window = qmrml_widgets.qMRMLWidget()
    QtWidgets.QVBoxLayout(window)
    window.isEntered = True
    described = types.SimpleNamespace(path=module.__file__)
    module.ImageCaptioning(described)
    window.described = described
    widget = module.ImageCaptioningWidget(window)
    widget.setup()
    widget.enter()
    try:
        yield Desktop(place, module, widget, window, app, answers, asked)
    finally:
        if widget.panel.tasks.busy:
            widget.panel.tasks.cancel()
        widget.cleanup()
        app.remove_translators()
        window.deleteLater()
        application().processEvents()
        _forget_module()


def _forget_module() -> None:
    """The panel's modules are made anew for each desktop: they hold its ``_`` and its widgets."""
    for name in [name for name in sys.modules if name.partition(".")[0] in ("ImageCaptioning", "ImageCaptioningPanel")]:
        del sys.modules[name]


__all__ = ["Desktop", "desktop", "pythonqt"]
