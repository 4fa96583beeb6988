"""One job at a time in the background, with what the panel shows of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import qt
from ImageCaptioningLib.jobs import Job, Progress, sentence_of
from slicer.i18n import tr as _

LOOK_MS = 100
SLOW_SECONDS = 2.0
"""From here on the seconds are counted on the panel."""


class Tasks:
    """Runs the panel's jobs.

    Args:
        bar, label, cancel: where progress, sentences and the way out are shown.
        changed: called when a job begins or ends.
    """

    def __init__(self, bar: Any, label: Any, cancel: Any, changed: Callable[[], None]) -> None:
        self._bar, self._label, self._cancel, self._changed = bar, label, cancel, changed
        self.job: Job | None = None
        self._text, self._done, self._lines, self._keeps_part = "", None, None, False
        self._timer = qt.QTimer()
        self._timer.setInterval(LOOK_MS)
        self._timer.connect("timeout()", self.look)
        cancel.connect("clicked()", self.cancel)
        self._show_idle()

    @property
    def busy(self) -> bool:
        return self.job is not None

    def start(
        self,
        text: str,
        work: Callable[[Progress], Any],
        done: Callable[[Any], None],
        *,
        stop: Callable[[], None] | None = None,
        lines: Callable[[str], None] | None = None,
        keeps_part: bool = False,
    ) -> bool:
        """Begin a job, unless one is under way.

        Args:
            text: what is being done, while the job says nothing itself.
            work: see :class:`ImageCaptioningLib.jobs.Job`.
            done: called with the result, in the panel's thread.
            stop: ends what the work waits for, when the user cancels.
            lines: called with each line of detail.
            keeps_part: a cancelled job's result is of use.
        """
        if self.busy:
            self.tell(_("{text} Wait for it, or cancel it first.").format(text=self._text))
            return False
        self._text, self._done, self._lines, self._keeps_part = text, done, lines, keeps_part
        self.tell(text)
        self.job = Job(work, stop)
        self._bar.setRange(0, 0)
        self._bar.setVisible(True)
        self._cancel.setEnabled(True)
        self._timer.start()
        self._changed()
        return True

    def look(self) -> None:
        """Show how far the job is; finish where it has ended."""
        job = self.job
        if job is None:
            return
        for line in job.progress.take_lines():
            if self._lines is not None:
                self._lines(line)
        if not job.done:
            self._show_progress(job)
            return
        self.job = None
        self._timer.stop()
        self._show_idle()
        self._changed()
        if job.progress.cancelled and not (self._keeps_part and job.error is None):
            self.tell(_("Cancelled."))
        elif job.error is not None:
            self.fail(job.error)
        else:
            self.attempt(lambda: self._done(job.result))

    def cancel(self) -> None:
        """End the job; its result is not used."""
        if self.job is not None:
            self.tell(_("Cancelling ..."))
            self._cancel.setEnabled(False)
            self.job.cancel()

    def tell(self, sentence: str) -> None:
        """One sentence for the user."""
        self._label.setText(sentence)

    def fail(self, error: Exception) -> None:
        """What went wrong, as a sentence; the details are in the log."""
        sentence = sentence_of(error)
        logging.info("Image Captioning: %s", sentence)
        self.tell(sentence[:1].upper() + sentence[1:] + ("" if sentence.endswith((".", "?", "!")) else "."))

    def attempt(self, action: Callable[[], Any]) -> Any:
        """Call a function; whatever it raises becomes a sentence."""
        try:
            return action()
        except Exception as error:
            self.fail(error)
            return None

    def _show_progress(self, job: Job) -> None:
        fraction = job.progress.fraction
        self._bar.setRange(0, 0 if fraction is None else 100)
        if fraction is not None:
            self._bar.setValue(int(100 * fraction))
        text = job.progress.text or self._text
        if not job.progress.cancelled:
            waited = f"  ({job.seconds:.0f} s)" if job.seconds > SLOW_SECONDS else ""
            self.tell(text + waited)

    def _show_idle(self) -> None:
        self._bar.setRange(0, 100)
        self._bar.setValue(0)
        self._bar.setVisible(False)
        self._cancel.setEnabled(False)
