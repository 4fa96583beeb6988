"""Frame of a sequence (4-D image) that a volume shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Frame:
    """A frame: its number from 0, how many there are, and its index value such as ``"120 ms"``."""

    number: int
    count: int
    value: str


def frame_of(volume: Any) -> Frame | None:
    """The frame that a volume shows now; None where it belongs to no sequence."""
    browser, sequence = _browser(volume)
    if sequence is None:
        return None
    number = browser.GetSelectedItemNumber()
    value = f"{sequence.GetNthIndexValue(number)} {sequence.GetIndexUnit() or ''}".strip()
    return Frame(number, sequence.GetNumberOfDataNodes(), value)


def show_frame(volume: Any, number: int) -> None:
    """Let a volume show a frame; nothing happens where it belongs to no sequence or has no such frame."""
    browser, sequence = _browser(volume)
    if sequence is not None and 0 <= number < sequence.GetNumberOfDataNodes():
        browser.SetSelectedItemNumber(number)


def _browser(volume: Any) -> tuple[Any, Any]:
    scene = volume.GetScene() if volume is not None else None
    for place in range(scene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode") if scene is not None else 0):
        browser = scene.GetNthNodeByClass(place, "vtkMRMLSequenceBrowserNode")
        if browser.IsProxyNodeID(volume.GetID()):
            sequence = browser.GetSequenceNode(volume)
            if sequence is not None and browser.GetSelectedItemNumber() >= 0:
                return browser, sequence
    return None, None
