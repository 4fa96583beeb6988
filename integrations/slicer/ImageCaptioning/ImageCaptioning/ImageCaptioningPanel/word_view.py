"""Places that a word rests on, in the slice views: its map, or a region."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from ImageCaptioningLib.drafts import Draft
from ImageCaptioningLib.logic import CaptionLogic
from slicer.i18n import tr as _

from .caption_box import MAP
from .tasks import Tasks

OPACITY = 0.5


class WordView:
    """Shows one word at a time.

    Args:
        tasks: runs what takes long, and tells what is shown.
        logic: gives the logic; called when a word is pressed.
        draft: gives the draft whose words they are.
    """

    def __init__(self, tasks: Tasks, logic: Callable[[], CaptionLogic], draft: Callable[[], Draft]) -> None:
        self._tasks, self._logic, self._draft = tasks, logic, draft
        self._wanted: tuple[Draft, int | None] | None = None

    def show(self, word: int | None, kind: int) -> None:
        """Show a word, or with None the whole caption, as a map or a region."""
        self._tasks.attempt(lambda: self._show(word, kind))

    def hide(self) -> None:
        """Show the image alone."""
        self._wanted = None
        slicer.util.setSliceViewerLayers(foreground=None, label=None)

    def _show(self, word: int | None, kind: int) -> None:
        logic, draft = self._logic(), self._draft()
        if draft.names_nothing(word):
            self.hide()
            self._tasks.tell(_("This word names nothing visible: it has no map and no region."))
            return
        if kind == MAP:
            self._wanted = None
            slicer.util.setSliceViewerLayers(foreground=logic.show(draft, word), foregroundOpacity=OPACITY, label=None)
            return
        self._wanted = (draft, word)
        draw = logic.drawing(draft, word)
        if draw is None or self._tasks.busy:
            self._show_region(draft, word, None)
            return
        text = _("Drawing the region ...")
        self._tasks.start(text, lambda _progress: draw(), lambda drawn: self._show_region(draft, word, drawn))

    def _show_region(self, draft: Draft, word: int | None, drawn: Any) -> None:
        if self._wanted != (draft, word):
            self._tasks.tell("")  # another word was pressed meanwhile, or none is down any more
            return
        mask = self._logic().show_region(draft, word, drawn)
        slicer.util.setSliceViewerLayers(foreground=None, label=mask, labelOpacity=OPACITY)
        self._tasks.tell(about_region(drawn is not None))


def about_region(drawn: bool) -> str:
    """Who drew the region on screen."""
    if drawn:
        return _("Region: drawn by SAM's mask decoder around the peak of the word's map.")
    return _("Region: the part of the map around its peak; nothing was outlined in the image.")
