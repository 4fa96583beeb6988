"""Logic of the panel's buttons, without the panel.

Each slow action comes in two halves: a method of :class:`CaptionLogic` reads the scene and gives back a function, which
touches no node and may run in a thread.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from . import overlay, scene
from .drafts import NOTICE, Draft, window_text
from .errors import CaptioningError
from .images.pixels import write_metaimage, write_png
from .images.segments import inside_segment
from .images.slices import Picture, slice_picture
from .images.turning import turned
from .sources import IMAGE_ID, picture_id, plane_of, series_uid, source_files
from .words import _

logger = logging.getLogger(__name__)
SHOWN, CHOSEN = "shown", "chosen"
"""Whose window: the view's, or the captioner's choice."""


class Backend(Protocol):
    """Who captions: :class:`local.LocalWorker`, :class:`server.LabelServer` or :class:`service.CaptionService`."""

    reports: bool
    name: str

    def check(self) -> str: ...

    def caption(self, file: Path, **options: Any) -> dict[str, Any]: ...

    def cancel(self) -> None: ...

    def close(self) -> None: ...


class CaptionLogic:
    """Captions slices of volumes in one scene.

    Args:
        mrml: the scene.
        backend: who captions.
    """

    def __init__(self, mrml: Any, backend: Backend) -> None:
        self.scene = mrml
        self.backend = backend
        self._folder = tempfile.TemporaryDirectory(prefix="captioning-")

    def caption(self, volume: Any, slice_node: Any, **options: Any) -> Draft:
        """Caption what a slice view shows of a volume; see :meth:`captioning`."""
        return self.captioning(volume, slice_node, **options)()

    def captioning(
        self, volume: Any, slice_node: Any, *, window: str = SHOWN, segment: tuple[Any, str] | None = None,
        **options: Any,
    ) -> Callable[[], Draft]:  # fmt: skip
        """A function that captions what a slice view shows now.

        Args:
            volume, slice_node: see :func:`slices.slice_picture`.
            window: `SHOWN` for the view's, `CHOSEN` for the captioner's own choice.
            segment: segmentation node and segment id that the picture is restricted to.
            options: ``prompt``, ``num_beams``, ``explain``; empty ones are left out.

        Raises:
            CaptioningError: one sentence for the user; from the function, too.
        """
        picture = slice_picture(volume, slice_node)
        if segment is not None:
            picture = inside_segment(picture, *segment)
        given = {name: value for name, value in options.items() if value not in (None, "") and value is not False}
        if window == CHOSEN and picture.values is not None:
            picture = turned(picture)
            file, given["window"] = self._file(picture, ".mha"), "auto"
        else:
            picture = replace(picture, values=None)
            file, given["window"] = self._file(picture, ".png"), "none"
        return lambda: Draft(volume, picture, _checked(self.backend.caption(file, **given)))

    def save(self, draft: Draft, text: str, *, accepted: bool = True) -> Any:
        """Keep a caption, edited or not, as a text node of the scene.

        Args:
            draft: what was captioned.
            text: as the user left it.
            accepted: a person read it; else it is kept as a draft.

        Raises:
            CaptioningError: the text is empty, or the volume is gone.
        """
        still_there(draft)
        details = {
            "ModelVersion": draft.model_version,
            "Draft": draft.text,
            "Edited": "yes" if draft.is_edited(text) else "no",
            "Withheld": "yes" if draft.needs_confirmation(text) else "no",
            "LikelyRight": None if draft.likely is None else f"{draft.likely:.3f}",
            "FindingStated": {True: "yes", False: "no", None: None}[draft.states_finding],
            "FindingLikelyRight": None if draft.finding_likely is None else f"{draft.finding_likely:.3f}",
            "Window": draft.window or None,
            "WindowBy": "captioner" if draft.picture.values is not None else "view",
            "Status": "accepted" if accepted else "draft",
            "Notice": NOTICE,
        }
        return scene.save_caption(self.scene, draft.volume, draft.picture, text, details)

    def recall(self, node: Any, slice_node: Any) -> Draft:
        """The draft of a kept caption, as far as the scene has it: no explanation, no candidates for the finding.

        Args:
            node: text node of the caption.
            slice_node: a view that shows its slice; see :func:`scene.look_at`.
        """
        picture = slice_picture(scene.volume_of(node), slice_node)
        likely, finding = (scene.told(node, name) or None for name in ("LikelyRight", "FindingLikelyRight"))
        stated = scene.told(node, "FindingStated")
        reply = {
            "caption": scene.told(node, "Draft"),
            "calibrated_confidence": likely,
            "finding_confidence": finding,
            "findings": [{"finding": "", "stated": stated == "yes"}] if stated else None,
            "abstained": scene.told(node, "Withheld") == "yes",
            "model_version": scene.told(node, "ModelVersion"),
            "weights": {},
            "window": scene.told(node, "Window"),
        }
        by_captioner = scene.told(node, "WindowBy") == "captioner"
        return Draft(scene.volume_of(node), picture if by_captioner else replace(picture, values=None), reply)

    def show(self, draft: Draft, word: int | None = None) -> Any:
        """Overlay of where a word (or, with None, the caption) comes from, as a volume in the slice's place."""
        still_there(draft)
        heat = overlay.heat(draft.reply, draft.picture.pixels.shape[:2], word)
        return scene.show_overlay(self.scene, draft.volume, draft.picture, heat)

    def drawing(self, draft: Draft, word: int | None) -> Callable[[], np.ndarray | None] | None:
        """A function that asks the captioner for its own region of a word; None where it draws none.

        Returns:
            of the function: bool ``[H, W]``, or None where the captioner no longer knows the caption.
        """
        if word is None or not draft.id or not hasattr(self.backend, "region"):
            return None
        shape = draft.picture.pixels.shape[:2]

        def draw() -> np.ndarray | None:
            try:
                found = overlay.drawn_region(draft.reply, shape, self.backend.region(draft.id, word))
            except CaptioningError as error:
                logger.info("no region of the captioner's own: %s", error)  # the map's stands in, and that is said
                return None
            return found if found.any() else None

        return draw

    def show_region(self, draft: Draft, word: int | None = None, drawn: np.ndarray | None = None) -> Any:
        """A region as a label map in the slice's place: ``drawn``, else the part of the map around its peak."""
        still_there(draft)
        if drawn is None:
            drawn = overlay.region(overlay.heat(draft.reply, draft.picture.pixels.shape[:2], word))
        return scene.show_mask(self.scene, draft.volume, draft.picture, drawn)

    def sending(self, draft: Draft, text: str, *, confirmed: bool = False) -> Callable[[], str]:
        """A function that sends a corrected caption to MONAI Label, to train on; gives the image's id there.

        Raises:
            CaptioningError: not a server, no text, or a withheld caption that is neither edited nor ``confirmed``.
        """
        if not hasattr(self.backend, "send"):
            raise CaptioningError(_("corrections go to a MONAI Label server: choose one under 'Captioner'"))
        text = " ".join(text.split())
        if not text:
            raise CaptioningError(_("the caption is empty: write one before sending it"))
        _allow(draft, text, confirmed)
        still_there(draft)
        picture = draft.picture
        label = {
            "caption": text,
            "status": "reviewed",
            "draft": draft.text,
            "doubts": draft.doubts,
            "model_version": draft.model_version,
            "plane": picture.plane,
            "slice": None if picture.inside or picture.frame else picture.index,
            "options": {"window": "auto" if picture.values is not None else window_text(picture) or "auto"},
            "picture_id": picture_id(draft.volume, picture),
        }
        image_id = draft.volume.GetAttribute(IMAGE_ID) or series_uid(draft.volume)
        png = self._file(replace(picture, values=None), ".png")
        return lambda: self.backend.send(label, image_id, png)

    def reporting(
        self, draft: Draft, text: str, output: Path, worker: Any, file_of: Callable[[str], str] | None = None,
        *, confirmed: bool = False, format: str = "dicom_sr",
    ) -> Callable[[], Path]:  # fmt: skip
        """A function that exports a caption as a report of the volume's patient and study; gives the file.

        Args:
            draft, text: what was captioned, and the caption as the user left it.
            output: file to write.
            worker: a :class:`local.LocalWorker`.
            file_of: SOP instance UID -> file, such as ``slicer.dicomDatabase.fileForInstance``.
            confirmed: the user read a withheld caption and stands by it.
            format: ``dicom_sr`` or ``fhir``.

        Raises:
            CaptioningError: the volume did not come from DICOM, its patient or study is ambiguous, or the caption is
                withheld and neither edited nor confirmed.
        """
        _allow(draft, text, confirmed)
        still_there(draft)
        source, plane = source_files(draft.volume, file_of), plane_of(draft.picture)
        return lambda: worker.report(
            source, output, format=format, caption=text, **_judged(draft),
            model_version=draft.model_version, weights=draft.reply.get("weights"), edited=draft.is_edited(text),
            abstained=draft.withheld, confirmed=confirmed, plane=plane,
        )  # fmt: skip

    def write_text(self, draft: Draft, text: str, output: Path, *, confirmed: bool = False) -> Path:
        """Export a caption as a text file that says how it came about.

        Raises:
            CaptioningError: the caption is withheld and neither edited nor confirmed, or the file cannot be written.
        """
        _allow(draft, text, confirmed)
        picture = draft.picture
        where = f"{picture.plane or picture.orientation} {'' if picture.index is None else picture.index}".strip()
        lines = [
            " ".join(text.split()), "", NOTICE, f"slice: {where}, window: {draft.window or 'none'}",
            f"model: {draft.model_version}", draft.doubts,
            f"edited by a person: {'yes' if draft.is_edited(text) else 'no'}",
            f"written: {datetime.now().astimezone():%Y-%m-%d %H:%M %Z}", "",
        ]  # fmt: skip
        try:
            Path(output).write_text("\n".join(lines), encoding="utf-8")
        except OSError as error:
            raise CaptioningError(
                _("{path} cannot be written ({reason})").format(path=output, reason=error.strerror)
            ) from None
        return Path(output)

    def close(self) -> None:
        """Remove what was written for the captioner, which itself stays."""
        self._folder.cleanup()

    def _file(self, picture: Picture, ending: str) -> Path:
        shown = picture.pixels if ending == ".png" else picture.values
        name = hashlib.sha256(shown.tobytes() + picture.to_own.tobytes()).hexdigest()[:16]
        path = Path(self._folder.name) / f"{name}{ending}"
        return write_png(picture.pixels, path) if ending == ".png" else write_metaimage(shown, picture.to_own, path)


def still_there(draft: Draft) -> None:
    """Refuse to work on a volume that was removed from the scene since it was captioned."""
    if draft.volume.GetScene() is None:
        raise CaptioningError(_("the volume was closed since it was captioned: copy the text, or load it again"))


def _judged(draft: Draft) -> dict[str, Any]:
    """What a report says of its caption's doubts, as the captioner told it."""
    known = ("confidence", "calibrated_confidence", "token_confidence", "finding_confidence", "findings")
    return {name: draft.reply[name] for name in known if name in draft.reply}


def _allow(draft: Draft, text: str, confirmed: bool) -> None:
    """Keep a caption that the model itself doubts from leaving unread."""
    if draft.needs_confirmation(text) and not confirmed:
        raise CaptioningError(_("the model is not sure enough of this caption: edit it, or confirm that it is right"))


def _checked(reply: Any) -> dict[str, Any]:
    try:
        if not (reply.get("withheld") and not reply["caption"]):  # withheld without words: no medical image
            str(reply["caption"]), reply["model_version"]
    except (KeyError, TypeError, ValueError):
        raise CaptioningError(_("the captioner's answer has no caption: is it the captioning bundle?")) from None
    return reply
