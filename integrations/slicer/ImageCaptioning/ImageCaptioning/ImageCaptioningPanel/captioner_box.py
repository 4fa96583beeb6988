"""Box of the captioner: the choice, setting it up on this computer, connecting to a server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ctk
import qt
import slicer
from ImageCaptioningLib.captioners.choices import (
    LABEL,
    LOCAL,
    SERVICE,
    SETUP,
    Choice,
    forget_setup,
    keep_choice,
    load_choice,
)
from ImageCaptioningLib.captioners.found import running_servers
from ImageCaptioningLib.jobs import Job
from ImageCaptioningLib.setup.installation import Installation, Wish
from slicer.i18n import tr as _

from .tasks import Tasks

MODES = (LOCAL, LABEL, SERVICE)


class CaptionerBox:
    """The first box of the panel.

    Args:
        ui: widgets of ``Captioner.ui``.
        tasks: runs what takes long.
        installation: the captioner's folder on this computer.
        changed: called with a line that says who captions, whenever that changes.
    """

    def __init__(self, ui: Any, tasks: Tasks, installation: Installation, changed: Callable[[str], None]) -> None:
        self.ui, self._tasks, self.installation, self._changed = ui, tasks, installation, changed
        self._looking: Job | None = None
        self._checked: tuple[Choice, str] | None = None
        self._fill(load_choice(slicer.app.settings().value))
        ui.wheelsPath.filters = ctk.ctkPathLineEdit.Dirs
        ui.zipButton.connect("clicked()", self._choose_zip)
        ui.folderButton.connect("clicked()", self._choose_folder)
        ui.modeComboBox.connect("currentIndexChanged(int)", lambda _index: self.refresh())
        ui.setupButton.connect("clicked()", lambda: tasks.attempt(self.on_setup))
        ui.repairButton.connect("clicked()", lambda: tasks.attempt(self.on_repair))
        ui.removeButton.connect("clicked()", lambda: tasks.attempt(self.on_remove))
        ui.connectButton.connect("clicked()", lambda: tasks.attempt(self.on_connect))
        self.refresh()

    @property
    def mode(self) -> str:
        return MODES[self.ui.modeComboBox.currentIndex]

    @property
    def ready(self) -> bool:
        """A caption can be asked for: the local captioner is set up, or a server is named."""
        return self.mode != LOCAL or bool(self.installation.told())

    def choice(self) -> Choice:
        """What the box holds; also kept for the next start of Slicer."""
        ui = self.ui
        choice = Choice(
            mode=self.mode, label_url=ui.labelEdit.text.strip(), service_url=ui.serviceEdit.text.strip(),
            token=ui.tokenEdit.text, certificate=ui.certificatePath.currentPath, source=ui.sourceEdit.text.strip(),
            python=ui.pythonPath.currentPath, wheels=ui.wheelsPath.currentPath, cpu_only=ui.cpuCheckBox.isChecked(),
        )  # fmt: skip
        keep_choice(choice, slicer.app.settings().setValue)
        return choice

    def refresh(self) -> None:
        """Show what the choice means now."""
        local = self.mode == LOCAL
        self.ui.modePages.setCurrentIndex(MODES.index(self.mode))
        self.ui.accessFrame.setVisible(not local)
        self.ui.logBox.setVisible(local)
        there = self.installation.is_there
        self.ui.repairButton.setVisible(there)
        self.ui.removeButton.setVisible(there)
        self.ui.stateLabel.setText(self._state())
        self.refresh_buttons()
        self._changed(self._title())

    def refresh_buttons(self) -> None:
        """No set-up and no connecting while something runs."""
        for button in (self.ui.setupButton, self.ui.repairButton, self.ui.removeButton, self.ui.connectButton):
            button.setEnabled(not self._tasks.busy)

    def look_around(self) -> None:
        """See in the background whether a server already runs here, and say so where nothing is set up."""
        if self._looking is None and self.mode == LOCAL and not self.ready:
            self._looking = Job(lambda _progress: running_servers())

    def offer_found(self) -> None:
        """Say which server was found; called by the panel from time to time."""
        job = self._looking
        if job is None or not job.done:
            return
        self._looking = None
        for mode, url in (job.result or {}).items():
            name = self.ui.modeComboBox.itemText(MODES.index(mode))
            self._tasks.tell(
                _("A captioner runs on this computer already: choose '{name}' under 'Captions by' ({url}).").format(
                    name=name, url=url
                )
            )

    def on_setup(self) -> None:
        choice = self.choice()
        wish = Wish(choice.source, choice.python, choice.wheels, choice.cpu_only)
        self._install(wish, _("Setting up ..."))

    def on_repair(self) -> None:
        choice = self.choice()
        wish = self.installation.wish() or Wish(choice.source, choice.python, choice.wheels, choice.cpu_only)
        self._install(wish, _("Repairing ..."))

    def on_remove(self) -> None:
        question = _("Delete {folder} with all that was set up? Captions in the scene stay.")
        if self._tasks.busy or not slicer.util.confirmYesNoDisplay(question.format(folder=self.installation.root)):
            return
        self._tasks.start(_("Removing ..."), lambda _progress: self.installation.remove(), self._removed)

    def _removed(self, _result: Any) -> None:
        """Nothing of it stays in Slicer's settings either."""
        self._fill(replace(self.choice(), **{name: getattr(Choice(), name) for name in SETUP}))
        forget_setup(slicer.app.settings().remove)
        self._ended(_("Removed."))

    def on_connect(self) -> None:
        choice = self.choice()
        backend = choice.backend(self.installation)

        def connected(version: str) -> None:
            self._checked = (choice, version)
            self._ended(_("{url} answers: model {version}.").format(url=choice.url, version=version or "?"))

        self._tasks.start(_("Connecting ..."), lambda _progress: backend.check(), connected, stop=backend.cancel)

    def _install(self, wish: Wish, text: str) -> None:
        self.ui.logEdit.setPlainText("")
        self.ui.logBox.collapsed = False
        self._tasks.start(
            text, lambda progress: self.installation.install(wish, progress),
            lambda version: self._ended(_("Ready: model {version}.").format(version=version)),
            lines=self.ui.logEdit.appendPlainText,
        )  # fmt: skip

    def _ended(self, sentence: str) -> None:
        self.refresh()
        self._tasks.tell(sentence)

    def _title(self) -> str:
        name = self.ui.modeComboBox.currentText
        version = self._version()
        return f"{name}, {_('model {version}').format(version=version)}" if version else name

    def _version(self) -> str:
        if self.mode == LOCAL:
            return str(self.installation.told().get("version", ""))
        if self._checked is not None and (self._checked[0].mode, self._checked[0].url) == (self.mode, self._url()):
            return self._checked[1]
        return ""

    def _url(self) -> str:
        return (self.ui.labelEdit if self.mode == LABEL else self.ui.serviceEdit).text.strip()

    def _state(self) -> str:
        if self.mode != LOCAL:
            return _("Pictures of the slices that you caption are sent to this address.")
        faults = self.installation.faults()
        if not faults:
            return _("Set up in {folder}; nothing leaves this computer.").format(folder=self.installation.root)
        said = "; ".join(faults[:3])
        return said[:1].upper() + said[1:] + (". " + _("Press 'Repair'.") if self.installation.is_there else ".")

    def _fill(self, choice: Choice) -> None:
        self.ui.modeComboBox.setCurrentIndex(MODES.index(choice.mode) if choice.mode in MODES else 0)
        self.ui.labelEdit.setText(choice.label_url)
        self.ui.serviceEdit.setText(choice.service_url)
        self.ui.sourceEdit.setText(choice.source)
        self.ui.certificatePath.currentPath = choice.certificate
        self.ui.pythonPath.currentPath = choice.python
        self.ui.wheelsPath.currentPath = choice.wheels
        self.ui.cpuCheckBox.setChecked(choice.cpu_only)

    def _choose_zip(self) -> None:
        path = qt.QFileDialog.getOpenFileName(self.ui.sourceEdit, _("The captioning bundle"), "", "Zip (*.zip)")
        if path:
            self.ui.sourceEdit.setText(path)

    def _choose_folder(self) -> None:
        path = qt.QFileDialog.getExistingDirectory(self.ui.sourceEdit, _("The captioning bundle"))
        if path:
            self.ui.sourceEdit.setText(path)
