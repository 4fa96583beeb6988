"""3D Slicer module: describe the slice on screen in words. The panel only; the work is in ``ImageCaptioningLib``."""

from __future__ import annotations

import unittest
from pathlib import Path

import ctk
import numpy as np
import qt
import slicer
from ImageCaptioningLib import scene
from ImageCaptioningLib.errors import CaptioningError
from ImageCaptioningLib.local import LocalWorker
from ImageCaptioningLib.logic import NOTICE, Background, CaptionLogic, Draft, remember_source
from ImageCaptioningLib.server import LabelServer
from ImageCaptioningLib.slices import slice_picture
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)

SETTINGS = "ImageCaptioning/"
LOOK_MS = 100
WITHHELD = "Withheld: the model is not sure enough of this caption. Edit it, or confirm it when you send or export it."


class ImageCaptioning(ScriptedLoadableModule):
    """What Slicer shows of the module in its lists."""

    def __init__(self, parent: object) -> None:
        super().__init__(parent)
        self.parent.title = "Image Captioning"
        self.parent.categories = ["Informatics"]
        self.parent.dependencies = []
        self.parent.contributors = ["The MSMedCap bundle authors"]
        self.parent.helpText = f"Describes the slice of a view in words. {NOTICE}"
        self.parent.acknowledgementText = "MSMedCap: Zhang et al., ICASSP 2024, arXiv 2311.01004."


class ImageCaptioningWidget(ScriptedLoadableModuleWidget):
    """The panel. Each button calls one method of ``CaptionLogic``."""

    def setup(self) -> None:
        super().setup()
        self.logic, self.draft, self.task, self.key = None, None, None, None
        self._backend_box()
        self._slice_box()
        self._caption_box()
        self.timer = qt.QTimer()
        self.timer.setInterval(LOOK_MS)
        self.timer.connect("timeout()", self._look)
        self.layout.addStretch(1)

    # ------------------------------------------------------------------ what is on the panel

    def _backend_box(self) -> None:
        form = self._box("Who captions")
        self.mode = qt.QComboBox()
        self.mode.addItems(["MONAI Label server", "Python on this computer"])
        self.url, self.token = self._line("server", "http://127.0.0.1:8000"), self._line("", "")
        self.token.setEchoMode(qt.QLineEdit.Password)
        self.certificate, self.python, self.bundle = (ctk.ctkPathLineEdit() for _ in range(3))
        self.bundle.filters = ctk.ctkPathLineEdit.Dirs
        settings = slicer.app.settings()
        for name, edit in (("certificate", self.certificate), ("python", self.python), ("bundle", self.bundle)):
            edit.currentPath = settings.value(SETTINGS + name, "")
        for label, widget in (
            ("Captions by", self.mode), ("Server", self.url), ("Token", self.token),
            ("Its authority", self.certificate), ("Python", self.python), ("Bundle folder", self.bundle),
        ):  # fmt: skip
            form.addRow(label, widget)

    def _slice_box(self) -> None:
        form = self._box("What to caption")
        self.volume = slicer.qMRMLNodeComboBox()
        self.volume.nodeTypes = ["vtkMRMLScalarVolumeNode", "vtkMRMLVectorVolumeNode"]
        self.volume.addEnabled = self.volume.removeEnabled = False
        self.volume.setMRMLScene(slicer.mrmlScene)
        self.view = qt.QComboBox()
        self.view.addItems(list(slicer.app.layoutManager().sliceViewNames()))
        self.prompt = qt.QLineEdit()
        self.prompt.placeholderText = "first words of the caption, or nothing"
        self.beams = qt.QSpinBox()
        self.beams.setRange(1, 16)
        self.beams.value = 3
        self.explain = qt.QCheckBox("where the words come from")
        self.explain.checked = True
        for label, widget in (("Volume", self.volume), ("View", self.view), ("Begin with", self.prompt),
                              ("Beams", self.beams), ("", self.explain)):  # fmt: skip
            form.addRow(label, widget)
        self._button(form, "Caption this slice", self.on_caption)
        self._button(form, "Next image from the server", self.on_next)

    def _caption_box(self) -> None:
        form = self._box("Caption")
        notice = qt.QLabel(NOTICE)
        notice.wordWrap = True
        self.text, self.confidence, self.word = qt.QPlainTextEdit(), qt.QLabel("-"), qt.QComboBox()
        self.word.connect("currentIndexChanged(int)", lambda row: self._try(lambda: self.on_word(row)))
        self.status = qt.QLabel("")
        self.status.wordWrap = True
        for label, widget in (
            ("", notice),
            ("Text", self.text),
            ("Confidence", self.confidence),
            ("Show word", self.word),
        ):
            form.addRow(label, widget)
        self._button(form, "Save in the scene", self.on_save)
        self._button(form, "Send correction to MONAI Label", self.on_send)
        self._button(form, "Export as DICOM SR ...", self.on_export)
        form.addRow("", self.status)

    def _box(self, title: str) -> qt.QFormLayout:
        box = ctk.ctkCollapsibleButton()
        box.text = title
        self.layout.addWidget(box)
        return qt.QFormLayout(box)

    def _line(self, setting: str, default: str) -> qt.QLineEdit:
        return qt.QLineEdit(slicer.app.settings().value(SETTINGS + setting, default) if setting else default)

    def _button(self, form: qt.QFormLayout, text: str, action: object) -> None:
        button = qt.QPushButton(text)
        button.connect("clicked()", lambda: self._try(action))
        form.addRow(button)

    # ------------------------------------------------------------------ what the buttons do

    def on_caption(self) -> None:
        logic = self._logic()
        volume = self.volume.currentNode()
        picture = slice_picture(volume, slicer.app.layoutManager().sliceWidget(self.view.currentText).mrmlSliceNode())
        options = {"prompt": self.prompt.text, "num_beams": self.beams.value, "explain": bool(self.explain.checked)}
        self.status.text = "Captioning; the first caption also loads the network ..."
        self.task = Background(lambda: logic.caption_picture(volume, picture, **options))
        self.timer.start()

    def _look(self) -> None:
        """Show the caption when its thread has ended."""
        if self.task is None or not self.task.done():
            return
        self.timer.stop()
        task, self.task = self.task, None
        if task.error is not None:
            self._tell(task.error)
            return
        self.draft = task.result
        self._show()

    def _show(self) -> None:
        """The draft on the panel."""
        self.text.plainText = self.draft.text
        self.confidence.text = _certainty(self.draft)
        self.word.blockSignals(True)
        self.word.clear()
        self.word.addItems(["(hide)", "(whole caption)", *self.draft.words] if self.draft.words else ["(hide)"])
        self.word.blockSignals(False)
        self.status.text = WITHHELD if self.draft.withheld else "Read it, correct it, save it."

    def on_word(self, row: int) -> None:
        if self.draft is None:
            return
        if row < 1:
            slicer.util.setSliceViewerLayers(foreground=None)
            return
        node = self._logic().show(self.draft, None if row == 1 else row - 2)
        slicer.util.setSliceViewerLayers(foreground=node, foregroundOpacity=0.5)

    def on_save(self) -> None:
        node = self._logic().save(self._drafted(), self.text.plainText)
        self.status.text = f"Saved as '{node.GetName()}'."

    def on_send(self) -> None:
        confirmed = self._confirmed()
        if confirmed is None:
            return
        image = self._logic().send(self._drafted(), self.text.plainText, confirmed=confirmed)
        self.status.text = f"Sent; the server keeps it with '{image}'."

    def on_export(self) -> None:
        confirmed = self._confirmed()
        if confirmed is None:
            return
        path = qt.QFileDialog.getSaveFileName(self.parent, "DICOM SR", "caption.dcm", "DICOM (*.dcm)")
        if not path:
            return
        logic = self._logic()
        worker = logic.backend if logic.backend.reports else self._worker()
        try:
            file_of = slicer.dicomDatabase.fileForInstance
            logic.report(self._drafted(), self.text.plainText, Path(path), worker, file_of, confirmed=confirmed)
        finally:
            if worker is not logic.backend:
                worker.close()
        self.status.text = f"Written: {path} (preliminary, unverified)."

    def on_next(self) -> None:
        backend = self._logic().backend
        if not hasattr(backend, "next_image"):
            raise CaptioningError("images are offered by a MONAI Label server: choose server mode")
        offered = backend.next_image()
        if not offered.get("id"):
            self.status.text = "Every image has a reviewed caption."
            return
        path = backend.fetch(offered, Path(slicer.app.temporaryPath))
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        volume = slicer.util.loadVolume(str(files[0]))
        remember_source(volume, offered["id"], files)
        self.volume.setCurrentNode(volume)

    # ------------------------------------------------------------------ helpers of the panel

    def _logic(self) -> CaptionLogic:
        """The logic of the backend that the panel names; a new one when that changes."""
        server = self.mode.currentIndex == 0
        key = (server, self.url.text, self.token.text, self.certificate.currentPath,
               self.python.currentPath, self.bundle.currentPath)  # fmt: skip
        if self.logic is None or key != self.key:
            if self.logic is not None:
                self.logic.close()
            backend = (
                LabelServer(self.url.text, token=self.token.text, certificate=self.certificate.currentPath)
                if server
                else self._worker()
            )
            self.logic, self.key = CaptionLogic(slicer.mrmlScene, backend), key
            for name, value in (("server", self.url.text), ("certificate", self.certificate.currentPath),
                                ("python", self.python.currentPath), ("bundle", self.bundle.currentPath)):  # fmt: skip
                slicer.app.settings().setValue(SETTINGS + name, value)
        return self.logic

    def _worker(self) -> LocalWorker:
        if not (self.python.currentPath and self.bundle.currentPath):
            raise CaptioningError("choose the Python and the bundle folder first: reports are written by them")
        return LocalWorker(self.python.currentPath, self.bundle.currentPath)

    def _drafted(self) -> object:
        if self.draft is None:
            raise CaptioningError("there is no caption yet: caption a slice first")
        return self.draft

    def _confirmed(self) -> bool | None:
        """Whether the user stands by a withheld caption that nobody changed; None: no. False: no need to ask."""
        if not self._drafted().needs_confirmation(self.text.plainText):
            return False
        if slicer.util.confirmYesNoDisplay(f"{WITHHELD}\n\nIs it right as it stands?"):
            return True
        self.status.text = WITHHELD
        return None

    def _try(self, action: object) -> None:
        try:
            action()
        except CaptioningError as error:
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        self.status.text = ""
        slicer.util.errorDisplay(str(error), windowTitle="Image Captioning")

    def cleanup(self) -> None:
        if self.logic is not None:
            self.logic.close()


def _certainty(draft: Draft) -> str:
    """For the panel: the network's confidence in its words and, where it is calibrated, the chance that it is right."""
    likely = "" if draft.likely is None else f"{draft.likely:.0%} likely right; "
    return f"{draft.confidence:.2f}   ({likely}model {draft.reply['model_version']})"


class ImageCaptioningLogic(ScriptedLoadableModuleLogic, CaptionLogic):
    """Slicer's convention; see ``CaptionLogic``."""

    def __init__(self, backend: object) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        CaptionLogic.__init__(self, slicer.mrmlScene, backend)


class ImageCaptioningTest(ScriptedLoadableModuleTest):
    """In Slicer: a caption is kept with its volume. All else is tested without Qt in ``tests/integrations/slicer``."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        self.setUp()
        volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "made")
        slicer.util.updateVolumeFromArray(volume, np.arange(4096.0).reshape(16, 16, 16))
        volume.CreateDefaultDisplayNodes()
        view = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
        picture = slice_picture(volume, view)
        node = scene.save_caption(slicer.mrmlScene, volume, picture, "a caption", {})
        unittest.TestCase().assertEqual(scene.captions_of(slicer.mrmlScene, volume), [node])
