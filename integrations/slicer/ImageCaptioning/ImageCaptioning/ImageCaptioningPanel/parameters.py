"""Parameters of the panel, kept in the scene: saved and loaded with it."""

from __future__ import annotations

import enum
from typing import Annotated

from slicer import vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper


class WindowBy(enum.Enum):
    """Whose window the captioner sees."""

    VIEW = "view"
    CAPTIONER = "captioner"

    def label(self) -> str:
        """What the panel calls it."""
        return _("As shown in the view") if self is WindowBy.VIEW else _("The captioner's choice")


@parameterNodeWrapper
class CaptionParameters:
    """The parameters of the module.

    Attributes:
        volume: what is captioned; pictures and sequences are scalar volumes, too, in MRML.
        view: name of the slice view.
        window: whose window.
        prompt: first words of the caption.
        beams: captions weighed against one another.
        explain: find out what each word rests on.
    """

    volume: vtkMRMLScalarVolumeNode
    view: str = "Red"
    window: WindowBy = WindowBy.VIEW
    prompt: str = ""
    beams: Annotated[int, WithinRange(1, 16)] = 3
    explain: bool = True
