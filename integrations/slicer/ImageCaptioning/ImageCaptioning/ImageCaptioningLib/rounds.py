"""Many volumes one after the other: which there are, and their middle slices captioned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import scene
from .drafts import Draft
from .errors import CaptioningError
from .images.slices import middle_view
from .jobs import CancelledError, Progress
from .logic import CaptionLogic
from .words import _

KINDS = ("vtkMRMLScalarVolumeNode", "vtkMRMLVectorVolumeNode")


def volumes_of(mrml: Any) -> list[Any]:
    """The volumes of a scene that can be captioned: no label maps, no maps of captions."""
    found = []
    for kind in KINDS:
        for place in range(mrml.GetNumberOfNodesByClass(kind)):
            node = mrml.GetNthNodeByClass(place, kind)
            if node.GetClassName() in KINDS and node.GetImageData() is not None and not scene.is_overlay(node):
                found.append(node)
    return list({node.GetID(): node for node in found}.values())


class Round:
    """Captions of the middle slice of several volumes.

    Args:
        logic: captions them.
        volumes: in this order; read here, so that the rest may run in a thread.
        options: see :meth:`CaptionLogic.captioning`.

    Attributes:
        drafts: captions that are there.
        failures: name of a volume -> the sentence why it has none.
    """

    def __init__(self, logic: CaptionLogic, volumes: list[Any], **options: Any) -> None:
        self.drafts: list[Draft] = []
        self.failures: dict[str, str] = {}
        self._waiting: list[tuple[str, Callable[[], Draft]]] = []
        for volume in volumes:
            try:
                self._waiting.append((volume.GetName(), logic.captioning(volume, middle_view(volume), **options)))
            except CaptioningError as error:
                self.failures[volume.GetName()] = str(error)

    def run(self, progress: Progress) -> Round:
        """Caption them; one that fails does not stop the others. What is there stays when it is cancelled."""
        for number, (name, caption) in enumerate(self._waiting):
            if progress.cancelled:
                break
            progress.text, progress.fraction = _("captioning {name}").format(name=name), number / len(self._waiting)
            try:
                self.drafts.append(caption())
            except CancelledError:
                break
            except CaptioningError as error:
                if not progress.cancelled:
                    self.failures[name] = str(error)
        return self
