"""3D Slicer module: describe the slice on screen in words.

The panel's parts are in ``ImageCaptioningPanel``, the work in ``ImageCaptioningLib``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
import slicer
import vtk
from ImageCaptioningLib import scene
from ImageCaptioningLib.images import samples
from ImageCaptioningLib.images.slices import middle_view
from ImageCaptioningLib.logic import CaptionLogic
from ImageCaptioningPanel.panel import Panel
from ImageCaptioningPanel.parameters import CaptionParameters
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

FOLDER = Path(__file__).resolve().parent
HOME = ""
"""Address of the extension's repository; ``tools/slicer_extension.py`` writes it where the extension is published."""
OFFER_MS = 700
_translators: list[Any] = []
"""Held here: Qt does not."""


class ImageCaptioning(ScriptedLoadableModule):
    """What Slicer shows of the module in its lists."""

    def __init__(self, parent: Any) -> None:
        super().__init__(parent)
        install_translation()
        self.parent.title = _("Image Captioning")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Informatics")]
        self.parent.dependencies = []
        self.parent.contributors = ["The MSMedCap bundle authors"]
        self.parent.helpText = _(
            "Describes the slice of a view in words: a draft by a machine, for research, not for diagnosis."
        )
        if HOME:
            self.parent.helpText += " " + _('See the <a href="{url}">documentation</a>.').format(url=HOME + "#readme")
        self.parent.acknowledgementText = _("The method is MSMedCap: Zhang et al., ICASSP 2024, {link}.").format(
            link='<a href="https://arxiv.org/abs/2311.01004">arXiv 2311.01004</a>'
        )
        slicer.app.connect("startupCompleted()", register_samples)


def install_translation() -> None:
    """Load the module's own translation: Slicer looks for translations in its own folder only."""
    language = slicer.app.applicationLocaleName.replace("-", "_")  # Slicer's settings have either, as fr-FR
    for name in (language, language.split("_")[0]):
        file = FOLDER / "Resources" / "Translations" / f"ImageCaptioning_{name}.qm"
        if file.is_file():
            translator = qt.QTranslator()
            if translator.load(str(file)):
                slicer.app.installTranslator(translator)
                _translators.append(translator)
            return


def register_samples() -> None:
    """List the made sample images in the Sample Data module."""
    import SampleData

    def show(volumes: list[Any]) -> None:
        foreground = volumes[1] if len(volumes) > 1 else None
        slicer.util.setSliceViewerLayers(
            background=volumes[0], foreground=foreground, label=None, foregroundOpacity=0.4, fit=True
        )

    samples.register(SampleData, str(FOLDER / "Resources" / "Icons"), show)


class ImageCaptioningWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel's life: loaded from its ``.ui`` files, entered, left, told of scenes that close."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.panel: Panel | None = None
        self._parameters, self._tag, self._view = None, None, None
        self._shortcuts: list[Any] = []

    def setup(self) -> None:
        super().setup()
        top = slicer.util.loadUI(self.resourcePath("UI/ImageCaptioning.ui"))
        self.layout.addWidget(top)
        self.ui = slicer.util.childWidgetVariables(top)
        parts = []
        for file, box in (("Captioner", self.ui.captionerBox), ("Caption", self.ui.captionBox)):
            part = slicer.util.loadUI(self.resourcePath(f"UI/{file}.ui"))
            box.layout().addWidget(part)
            parts.append(slicer.util.childWidgetVariables(part))
        top.setMRMLScene(slicer.mrmlScene)
        self._top = top
        self.logic = ImageCaptioningLogic()
        self.ui.viewComboBox.addItems(list(slicer.app.layoutManager().sliceViewNames()))
        self.panel = Panel(self.ui, *parts, captioner_folder())
        self.ui.captionerBox.collapsed = self.panel.captioner.ready
        self.ui.volumeSelector.connect("currentNodeChanged(vtkMRMLNode*)", lambda _node: self.panel.refresh())
        self.ui.viewComboBox.connect("currentIndexChanged(int)", lambda _index: self._on_view())
        self.ui.windowComboBox.connect("currentIndexChanged(int)", lambda _index: self.panel.refresh_slice())
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self._on_scene_start_close)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self._on_scene_end_close)
        self._make_shortcuts()
        self._offer = qt.QTimer()
        self._offer.setInterval(OFFER_MS)
        self._offer.connect("timeout()", self.panel.captioner.offer_found)
        self._take_parameters()

    def enter(self) -> None:
        """The user opened the module."""
        self._take_parameters()
        for shortcut in self._shortcuts:
            shortcut.setEnabled(True)
        self.panel.captioner.look_around()
        self._offer.start()

    def exit(self) -> None:
        """The user opened another module: a text that was changed is kept as a draft, to be saved with the scene."""
        self.panel.keep_edit()
        self._offer.stop()
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
        self._set_parameters(None)

    def cleanup(self) -> None:
        """The module is about to go, with Slicer or to be loaded anew."""
        if self.panel is not None:
            self.panel.keep_edit()
        self._set_parameters(None)
        self.removeObservers()
        if self.panel is not None:
            self.panel.close()

    def _make_shortcuts(self) -> None:
        panel = self.panel
        keys = {
            "Ctrl+Shift+C": panel.on_caption,
            "Ctrl+Shift+N": panel.on_next,
            "Ctrl+Shift+E": panel.caption.ui.captionEdit.setFocus,
            "Ctrl+Return": panel.on_accept,
        }
        owner = slicer.util.mainWindow() or self._top
        for key, action in keys.items():
            shortcut = qt.QShortcut(owner)
            shortcut.setKey(qt.QKeySequence(key))
            shortcut.connect("activated()", lambda action=action: panel.tasks.attempt(action))
            shortcut.setEnabled(False)
            self._shortcuts.append(shortcut)

    def _take_parameters(self) -> None:
        self._set_parameters(self.logic.getParameterNode())
        if self._parameters.volume is None:
            first = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
            if first is not None:
                self._parameters.volume = first

    def _set_parameters(self, parameters: CaptionParameters | None) -> None:
        if self._parameters is not None:
            self._parameters.disconnectGui(self._tag)
            self._observe_view(None)
        self._parameters = parameters
        if parameters is not None:
            self._tag = parameters.connectGui(self.ui)
            self.panel.parameters = parameters
            self.ui.viewComboBox.setCurrentText(parameters.view)
            self._on_view()

    def _on_view(self) -> None:
        widget = slicer.app.layoutManager().sliceWidget(self.ui.viewComboBox.currentText)
        self._observe_view(None if widget is None else widget.mrmlSliceNode())
        if self._parameters is not None:
            self._parameters.view = self.ui.viewComboBox.currentText
        self.panel.refresh()

    def _observe_view(self, node: Any) -> None:
        if self._view is not None:
            self.removeObserver(self._view, vtk.vtkCommand.ModifiedEvent, self._on_slice)
        self._view = node
        if node is not None:
            self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._on_slice)

    def _on_slice(self, _caller: Any, _event: str) -> None:
        self.panel.refresh_slice()

    def _on_scene_start_close(self, _caller: Any, _event: str) -> None:
        self.panel.closing()
        self._set_parameters(None)

    def _on_scene_end_close(self, _caller: Any, _event: str) -> None:
        if self.parent.isEntered:
            self._take_parameters()


def captioner_folder() -> Path:
    """Where the captioner is put: beside Slicer's own settings, so that it outlives an update of Slicer."""
    return Path(slicer.app.slicerUserSettingsFilePath).parent / "ImageCaptioning"


class ImageCaptioningLogic(ScriptedLoadableModuleLogic):
    """Slicer's convention; for scripts: ``ImageCaptioningLogic().captions(backend).caption(volume, slice_node)``."""

    def getParameterNode(self) -> CaptionParameters:
        return CaptionParameters(super().getParameterNode())

    def captions(self, backend: Any) -> CaptionLogic:
        """Captions of the scene's volumes by a backend of ``ImageCaptioningLib.captioners``."""
        return CaptionLogic(slicer.mrmlScene, backend)


class ImageCaptioningTest(ScriptedLoadableModuleTest):
    """In Slicer, also where it is installed: a made sample is captioned and kept. More is in ``Testing/Python``."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        self.setUp()
        self.test_a_caption_is_kept_with_its_volume()

    def test_a_caption_is_kept_with_its_volume(self) -> None:
        [volume] = samples.load_ct(slicer.mrmlScene)
        logic = ImageCaptioningLogic().captions(SaysOneThing())
        draft = logic.caption(volume, middle_view(volume))
        node = logic.save(draft, "a caption, corrected")
        self.assertEqual(scene.captions_of(slicer.mrmlScene, volume), [node])
        logic.close()
        self.delayDisplay("Test passed")


class SaysOneThing:
    """A captioner for the self test: no network, one sentence."""

    reports, name = False, "self test"

    def check(self) -> str:
        return "0"

    def caption(self, file: Path, **options: Any) -> dict[str, Any]:
        return {"caption": "a caption", "confidence": 0.5, "model_version": "0", "weights": {}}

    def cancel(self) -> None: ...

    def close(self) -> None: ...
