"""The panel's code, run against stand-ins for Qt: every button reaches the logic. How it looks is not tested here."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import MagicMock

import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed (make test installs it)")

from ImageCaptioningLib.logic import IMAGE_ID, INSTANCES  # noqa: E402
from scenes import Scene, voxel_to_ras  # noqa: E402
from study_files import body, write_series  # noqa: E402
from test_slicer_logic import DoubtfulBackend, FixedBackend  # noqa: E402


class Base:
    """Stands in for Slicer's four base classes."""

    def __init__(self, parent: object = None) -> None:
        self.parent = parent

    def setup(self) -> None:
        self.layout = MagicMock()


@pytest.fixture
def panel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[object, Scene, object]]:
    """The panel after ``setup``, with a volume chosen and a view on it."""
    place = Scene()
    volume = place.load(write_series(tmp_path / "series", body()))
    view = place.look("Axial", voxel_to_ras(volume, (40, 48, 6)))
    classes = types.ModuleType("slicer.ScriptedLoadableModule")
    for end in ("", "Logic", "Test", "Widget"):
        setattr(classes, f"ScriptedLoadableModule{end}", type(f"ScriptedLoadableModule{end}", (Base,), {}))
    qt = MagicMock(QLabel=lambda *_: MagicMock())
    for name, module in {"qt": qt, "ctk": MagicMock(), "slicer.ScriptedLoadableModule": classes}.items():
        monkeypatch.setitem(sys.modules, name, module)
    application = MagicMock()
    application.settings().value = lambda key, default="": default
    application.layoutManager().sliceWidget().mrmlSliceNode.return_value = view
    for name in ("util", "qMRMLNodeComboBox", "dicomDatabase"):
        monkeypatch.setattr(slicer, name, MagicMock(), raising=False)
    monkeypatch.setattr(slicer, "app", application, raising=False)
    monkeypatch.setattr(slicer, "mrmlScene", place.mrml, raising=False)
    monkeypatch.delitem(sys.modules, "ImageCaptioning", raising=False)
    module = importlib.import_module("ImageCaptioning")
    widget = module.ImageCaptioningWidget()
    widget.setup()
    widget.volume.currentNode.return_value = volume
    widget.prompt.text, widget.beams.value, widget.explain.checked = "", 2, True
    monkeypatch.setattr(module, "LabelServer", lambda *a, **k: FixedBackend())
    widget.mode.currentIndex = 0
    yield widget, place, volume
    sys.modules.pop("ImageCaptioning", None)


def test_caption_show_and_save_from_the_panel(panel: tuple) -> None:
    widget, place, volume = panel
    widget._try(widget.on_caption)
    widget.task._thread.join(30)
    widget._look()
    slicer.util.errorDisplay.assert_not_called()
    assert widget.text.plainText == "a nodule" and widget.confidence.text.startswith("0.50")
    widget.on_word(2)
    assert slicer.util.setSliceViewerLayers.call_args.kwargs["foreground"].GetClassName() == "vtkMRMLScalarVolumeNode"
    widget.text.plainText = "a nodule, corrected"
    widget._try(widget.on_save)
    [node] = [place.mrml.GetNthNodeByClass(0, "vtkMRMLTextNode")]
    assert node.GetText() == "a nodule, corrected"


def test_what_goes_wrong_is_shown_in_a_box(panel: tuple) -> None:
    widget, _, _ = panel
    widget._try(widget.on_save)
    assert "caption a slice first" in slicer.util.errorDisplay.call_args.args[0]
    widget.volume.currentNode.return_value = None
    widget._try(widget.on_caption)
    assert "choose one" in slicer.util.errorDisplay.call_args.args[0]
    widget._try(widget.on_next)  # a backend without a list of images
    assert "server mode" in slicer.util.errorDisplay.call_args.args[0]


def test_the_panel_asks_before_a_withheld_caption_is_sent(panel: tuple) -> None:
    widget, _, _ = panel
    widget._try(widget.on_caption)
    widget.task._thread.join(30)
    widget._look()
    backend = DoubtfulBackend()
    widget.logic.backend = backend
    widget.draft = replace(widget.draft, reply={**widget.draft.reply, "abstained": True, "calibrated_confidence": 0.31})
    widget._show()
    assert "31% likely right" in widget.confidence.text and widget.status.text.startswith("Withheld")
    slicer.util.confirmYesNoDisplay.return_value = False
    widget._try(widget.on_send)
    widget._try(widget.on_export)
    assert backend.kept == []
    slicer.util.confirmYesNoDisplay.return_value = True
    widget._try(widget.on_send)
    assert [kept["caption"] for kept in backend.kept] == ["a nodule"]


def test_the_next_image_is_fetched_loaded_and_remembered(panel: tuple, tmp_path: Path) -> None:
    widget, place, _ = panel
    backend = widget._logic().backend
    series = write_series(tmp_path / "fetched", body(3))
    offers = [{"id": "p/ct", "path": "/elsewhere/ct"}, {}]
    backend.next_image = lambda: offers.pop(0)
    backend.fetch = lambda offered, folder: series
    slicer.util.loadVolume = lambda path: place.load(Path(path).parent)
    widget._try(widget.on_next)
    slicer.util.errorDisplay.assert_not_called()
    volume = widget.volume.setCurrentNode.call_args.args[0]
    assert volume.GetAttribute(IMAGE_ID) == "p/ct" and len(volume.GetAttribute(INSTANCES).split()) == 3
    widget._try(widget.on_next)
    assert widget.status.text == "Every image has a reviewed caption."
