"""Panel: one method for each button that is pressed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
import slicer
from ImageCaptioningLib import scene
from ImageCaptioningLib.captioners.choices import LABEL
from ImageCaptioningLib.drafts import Draft
from ImageCaptioningLib.errors import CaptioningError
from ImageCaptioningLib.images.slices import volume_slice
from ImageCaptioningLib.logic import CHOSEN, SHOWN, CaptionLogic
from ImageCaptioningLib.rounds import Round, volumes_of
from ImageCaptioningLib.setup.installation import Installation
from ImageCaptioningLib.sources import remember_source
from slicer.i18n import tr as _

from .caption_box import CaptionBox, withheld_text
from .captioner_box import CaptionerBox
from .history_box import HistoryBox
from .parameters import WindowBy
from .planes import plane_name
from .tasks import Tasks
from .word_view import WordView


class Panel:
    """The buttons and what they do; the module's widget owns one.

    Args:
        ui, captioner_ui, caption_ui: widgets of the three ``.ui`` files.
        folder: the captioner's own folder on this computer.
    """

    def __init__(self, ui: Any, captioner_ui: Any, caption_ui: Any, folder: Path) -> None:
        self.ui, self.caption_ui = ui, caption_ui
        self.parameters: Any = None
        self.logic: CaptionLogic | None = None
        self._choice: Any = None
        self.captioner: CaptionerBox | None = None
        self.tasks = Tasks(ui.progressBar, ui.statusLabel, ui.cancelButton, self.refresh)
        self.words = WordView(self.tasks, lambda: self._logic(any_captioner=True), self._drafted)
        self.caption = CaptionBox(caption_ui, self.words.show, self.words.hide)
        self.history = HistoryBox(ui.historyTable, lambda node: self.tasks.attempt(lambda: self._recall(node)))
        self.captioner = CaptionerBox(captioner_ui, self.tasks, Installation(folder), self._on_captioner)
        self._connect()
        self.refresh()

    def _connect(self) -> None:
        ui, caption_ui = self.ui, self.caption_ui
        for button, action in (
            (ui.captionButton, self.on_caption), (ui.nextButton, self.on_next), (ui.allButton, self.on_all),
            (ui.trainButton, self.on_train), (caption_ui.acceptButton, self.on_accept),
            (caption_ui.copyButton, self.on_copy), (caption_ui.sendButton, self.on_send),
        ):  # fmt: skip
            button.connect("clicked()", lambda action=action: self.tasks.attempt(action))
        menu = qt.QMenu(caption_ui.exportButton)
        for text, format in ((_("Text file ..."), "text"), (_("DICOM SR ..."), "dicom_sr"), (_("FHIR ..."), "fhir")):
            entry = menu.addAction(text)
            entry.connect("triggered()", lambda format=format: self.tasks.attempt(lambda: self.on_export(format)))
        caption_ui.exportButton.setMenu(menu)
        self._menu = menu
        caption_ui.captionEdit.connect("textChanged()", self._refresh_buttons)

    # ------------------------------------------------------------------ captions

    def on_caption(self) -> None:
        """Caption what the chosen view shows."""
        if self.tasks.busy:
            self.tasks.start("", lambda _progress: None, lambda _result: None)  # says what is under way
            return
        logic = self._logic()
        work = logic.captioning(self.volume, self._slice_node(), segment=self._segment(), **self._options())
        text = _("Captioning; the first caption also loads the network ...")
        self.tasks.start(text, lambda _progress: work(), self._arrived, stop=logic.backend.cancel)

    def on_all(self) -> None:
        """Draft a caption for the middle slice of every loaded volume."""
        volumes = volumes_of(slicer.mrmlScene)
        if not volumes:
            raise CaptioningError(_("there is no volume in the scene: load one first"))
        logic = self._logic()
        work = Round(logic, volumes, **self._options())
        self.tasks.start(
            _("Captioning all volumes ..."), work.run, self._all_arrived, stop=logic.backend.cancel, keeps_part=True
        )

    def on_next(self) -> None:
        """Go on with the caption that is least certain."""
        if self.captioner.mode != LABEL:
            self._keep_edit()
            node = scene.least_certain(slicer.mrmlScene)
            if node is None:
                raise CaptioningError(_("no draft waits: caption a slice, or all loaded volumes, first"))
            self._recall(node)
            return
        backend, folder = self._logic().backend, Path(slicer.app.temporaryPath)

        def fetch(_progress: Any) -> tuple[str, Path] | None:
            offered = backend.next_image()
            return (offered["id"], Path(backend.fetch(offered, folder))) if offered.get("id") else None

        self.tasks.start(_("Asking the server for the next image ..."), fetch, self._load, stop=backend.cancel)

    def _arrived(self, draft: Draft) -> None:
        self._keep_edit()
        if draft.volume.GetScene() is None:
            raise CaptioningError(_("the volume was closed while it was captioned: the caption was dropped"))
        self.caption.show(draft)
        self.words.hide()
        self.refresh()
        doubt = withheld_text() if draft.text else draft.withheld_because
        self.tasks.tell(doubt if draft.withheld else _("Read it, correct it, accept it."))

    def _all_arrived(self, work: Round) -> None:
        kept = [draft for draft in work.drafts if draft.text and draft.volume.GetScene() is not None]
        for draft in kept:
            known = scene.find_caption(slicer.mrmlScene, draft.volume, draft.picture)
            if known is None or scene.told(known, "Status") != "accepted":
                self._logic().save(draft, draft.text, accepted=False)
        self.refresh()
        told = _("{count} volumes have a draft now.").format(count=len(kept))
        failed = [f"{name}: {sentence}" for name, sentence in work.failures.items()]
        self.tasks.tell(" ".join([told, *failed[:2], *([_("More in the log.")] if len(failed) > 2 else [])]))

    def _load(self, found: tuple[str, Path] | None) -> None:
        if found is None:
            self.tasks.tell(_("Every image has a reviewed caption."))
            return
        image, path = found
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        # A file is one image, whatever lies beside it: numbered pictures of one folder are no stack.
        volume = slicer.util.loadVolume(str(files[0]), properties={"singleFile": not path.is_dir()})
        remember_source(volume, image, files)
        self._keep_edit()
        self._choose_volume(volume)
        self.tasks.tell(_("{name} is loaded: find the slice and caption it.").format(name=image))

    # ------------------------------------------------------------------ what becomes of them

    def on_accept(self) -> None:
        node = self._logic(any_captioner=True).save(self._drafted(), self.caption.text)
        self.caption.kept()
        self.refresh()
        self.tasks.tell(_("Accepted and kept in the scene as '{name}'.").format(name=node.GetName()))

    def on_copy(self) -> None:
        slicer.app.clipboard().setText(" ".join(self.caption.text.split()))
        self.tasks.tell(_("Copied."))

    def on_send(self) -> None:
        draft, text = self._drafted(), self.caption.text
        confirmed = self._confirmed(draft, text)
        if confirmed is None:
            return
        logic = self._logic()
        work = logic.sending(draft, text, confirmed=confirmed)

        def sent(image: str) -> None:
            if draft.volume.GetScene() is not None:
                logic.save(draft, text)
            if self.caption.draft is draft and self.caption.text == text:
                self.caption.kept()
            self.refresh()
            self.tasks.tell(_("Sent; the server keeps it with '{image}'.").format(image=image))

        self.tasks.start(_("Sending ..."), lambda _progress: work(), sent, stop=logic.backend.cancel)

    def on_export(self, format: str) -> None:
        draft, text = self._drafted(), self.caption.text
        confirmed = self._confirmed(draft, text)
        if confirmed is None:
            return
        title, name, kind = {
            "text": (_("Caption as text"), "caption.txt", "Text (*.txt)"),
            "dicom_sr": (_("Caption as DICOM SR"), "caption.dcm", "DICOM (*.dcm)"),
            "fhir": (_("Caption as FHIR DiagnosticReport"), "caption.json", "JSON (*.json)"),
        }[format]
        path = qt.QFileDialog.getSaveFileName(self.caption_ui.exportButton, title, name, kind)
        if not path:
            return
        logic = self._logic(any_captioner=True)
        if format == "text":
            logic.write_text(draft, text, Path(path), confirmed=confirmed)
            self.tasks.tell(_("Written: {path}.").format(path=path))
            return
        worker = self.captioner.installation.worker()
        work = logic.reporting(
            draft, text, Path(path), worker, slicer.dicomDatabase.fileForInstance, confirmed=confirmed, format=format
        )
        told = _("Written: {path} (preliminary, unverified).").format(path=path)
        self.tasks.start(
            _("Writing the report ..."), lambda _progress: work(), lambda _r: self.tasks.tell(told), stop=worker.cancel
        )

    def on_train(self) -> None:
        backend = self._logic().backend
        if not hasattr(backend, "train"):
            raise CaptioningError(_("a MONAI Label server learns: choose one under 'Captioner'"))
        self.tasks.start(_("Training ..."), backend.train, self._trained, stop=None)

    def _trained(self, report: dict[str, Any]) -> None:
        losses = ", ".join(f"{loss:.3f}" for loss in report.get("validation_loss") or [])
        text = _("Version {version} is active, trained on {count} captions.").format(
            version=report.get("version", "?"), count=report.get("training", report.get("captions", "?"))
        )
        validated = " " + _("Validation loss: {losses}.").format(losses=losses) if losses else ""
        self.ui.learningLabel.setText(text + validated)
        self.tasks.tell(text)

    # ------------------------------------------------------------------ what is seen

    @property
    def volume(self) -> Any:
        return self.ui.volumeSelector.currentNode()

    def refresh(self) -> None:
        """Say what would be captioned, list what was, and enable what can be done now."""
        if self.captioner is None:
            return
        self.captioner.refresh_buttons()
        self._refresh_buttons()
        self.refresh_slice()
        self.history.show(slicer.mrmlScene, self.volume)

    def _refresh_buttons(self) -> None:
        if self.captioner is None:
            return
        free, drafted, volume = not self.tasks.busy, self.caption.draft is not None, self.volume
        label = self.captioner.mode == LABEL
        self.ui.captionButton.setEnabled(free and volume is not None)
        self.ui.nextButton.setEnabled(free)
        self.ui.allButton.setEnabled(free)
        self.ui.trainButton.setEnabled(free and label)
        self.ui.learningBox.setVisible(label)
        self.caption_ui.acceptButton.setEnabled(drafted)
        self.caption_ui.copyButton.setEnabled(bool(self.caption.text.strip()))
        self.caption_ui.sendButton.setEnabled(free and drafted)
        self.caption_ui.sendButton.setVisible(label)
        self.caption_ui.exportButton.setEnabled(free and drafted)

    def refresh_slice(self) -> None:
        """Say which slice and which window would be captioned."""
        self.ui.sliceLabel.setText(slice_text(self.volume, self._slice_node()))
        shown = self.ui.windowComboBox.currentIndex == 0
        self.ui.windowLabel.setText(view_window(self.volume) if shown else "")

    def closing(self) -> None:
        """The scene is about to close: what the panel shows of it goes, an unkept text stays to be copied."""
        if self.caption.has_unkept_edit:
            self.tasks.tell(_("The scene was closed; the text that you changed is still here to copy."))
        elif self.caption.draft is not None:
            self.caption.clear()
        self.history.show(slicer.mrmlScene, None)

    def keep_edit(self) -> None:
        """Keep a text that the user changed, where its volume is still there; also when the panel is left."""
        if self.caption.draft is not None and self.caption.draft.volume.GetScene() is not None:
            self.tasks.attempt(self._keep_edit)

    def close(self) -> None:
        """End what runs; a local captioner stays for the next panel."""
        self.tasks.cancel()
        if self.logic is not None:
            self.logic.close()
            self.logic = None

    def _on_captioner(self, title: str) -> None:
        self.ui.captionerBox.text = _("Captioner: {name}").format(name=title)
        self.refresh()

    def _recall(self, node: Any) -> None:
        """Show a kept caption with its slice, to be edited."""
        volume = scene.volume_of(node)
        if volume is None:
            raise CaptioningError(_("the volume of this caption is gone"))
        self._keep_edit()
        self._choose_volume(volume)
        scene.look_at(node, self._slice_node())
        self.caption.show(self._logic(any_captioner=True).recall(node, self._slice_node()), node.GetText())
        self.refresh()

    def _choose_volume(self, volume: Any) -> None:
        self.ui.volumeSelector.setCurrentNode(volume)
        image = volume.GetImageData()
        one_slice = image is not None and image.GetDimensions()[2] == 1  # which a straight view might miss
        slicer.util.setSliceViewerLayers(background=volume, foreground=None, label=None, rotateToVolumePlane=one_slice)

    # ------------------------------------------------------------------ what the actions need

    def _logic(self, *, any_captioner: bool = False) -> CaptionLogic:
        """The logic with the captioner that is chosen; a new one when that changed.

        Args:
            any_captioner: the action asks nothing of the captioner, so that an old one will do.
        """
        if any_captioner and self.logic is not None:
            return self.logic
        choice = self.captioner.choice()
        backend = choice.backend(self.captioner.installation)
        if self.logic is None or choice != self._choice or backend is not self.logic.backend and choice.mode != LABEL:
            if self.logic is not None:
                self.logic.close()
            self.logic, self._choice = CaptionLogic(slicer.mrmlScene, backend), choice
        return self.logic

    def _slice_node(self) -> Any:
        widget = slicer.app.layoutManager().sliceWidget(self.ui.viewComboBox.currentText)
        return None if widget is None else widget.mrmlSliceNode()

    def _segment(self) -> tuple[Any, str] | None:
        node, segment = self.ui.segmentSelector.currentNode(), self.ui.segmentSelector.currentSegmentID()
        return (node, segment) if node is not None and segment else None

    def _options(self) -> dict[str, Any]:
        return {
            "window": CHOSEN if self.parameters.window == WindowBy.CAPTIONER else SHOWN,
            "prompt": self.parameters.prompt.strip(),
            "num_beams": self.parameters.beams,
            "explain": self.parameters.explain or None,
        }

    def _drafted(self) -> Draft:
        if self.caption.draft is None:
            raise CaptioningError(_("there is no caption yet: caption a slice first"))
        return self.caption.draft

    def _confirmed(self, draft: Draft, text: str) -> bool | None:
        """Whether the user stands by a withheld caption that nobody changed; None: no. False: no need to ask."""
        if not draft.needs_confirmation(text):
            return False
        if slicer.util.confirmYesNoDisplay(withheld_text() + "\n\n" + _("Is it right as it stands?")):
            return True
        self.tasks.tell(withheld_text())
        return None

    def _keep_edit(self) -> None:
        """Keep a text that the user changed before another one takes its place."""
        if not self.caption.has_unkept_edit or not self.caption.text.strip():
            return
        draft = self.caption.draft
        if draft.volume.GetScene() is None:
            slicer.app.clipboard().setText(self.caption.text)  # its volume is gone: this is all that can be done
        else:
            self._logic(any_captioner=True).save(draft, self.caption.text, accepted=False)
        self.caption.kept()


def slice_text(volume: Any, slice_node: Any) -> str:
    """Such as ``axial 12``; ``oblique`` for a view across the volume's slices, "" without a volume."""
    if volume is None or slice_node is None or volume.GetImageData() is None:
        return ""
    try:
        plane, index = volume_slice(volume, slice_node)
    except CaptioningError as error:
        return str(error)
    if plane is None:
        return _("across the volume's slices")
    return _("{plane} slice {number}").format(plane=plane_name(plane), number=index)


def view_window(volume: Any) -> str:
    """``centre/width`` that the views show a volume with."""
    display = volume.GetDisplayNode() if volume is not None else None
    return f"{display.GetLevel():g}/{display.GetWindow():g}" if hasattr(display, "GetWindow") else ""
