"""DICOM files and series -> `CaseImage`.

* One image: shown as stored, which is how every viewer shows it.
* Several frames with positions, in one file or many: a volume (`scripts.reading.dicom.stack`), shown upright.
* Several frames without positions: a cine. ``frame`` chooses, the middle frame unless told.
* Several images without positions: plain films, of which ``frame`` chooses, the first unless told; or slices, which are
  put in order by what the files do say, and of which ``slice`` chooses.
* A tiled slide: the whole of it (`scripts.reading.dicom.slides`).
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pydicom

from scripts.errors import InputError
from scripts.reading.case import CaseImage, base_meta, check_bytes, finish_case
from scripts.reading.dicom import attributes
from scripts.reading.dicom.acquisition import acquisition_of
from scripts.reading.dicom.file import DicomFile, describe_document, quiet_pydicom, read_dataset
from scripts.reading.dicom.headers import frames_at
from scripts.reading.dicom.kinds import is_image_class, is_segmentation
from scripts.reading.dicom.pixels import Frame, check_frame, decode_frame
from scripts.reading.dicom.slides import whole_slide
from scripts.reading.dicom.stack import (
    FrameRef,
    Stack,
    frames_of,
    geometry_remarks,
    noted_series,
    order_of,
    stacks_of,
    volume_of,
)
from scripts.reading.dicom.transfer_syntax import check_syntax
from scripts.reading.orientation import letters_of, off_axis_degrees, plane_of
from scripts.reading.slices import Rule, choose
from scripts.reading.volumes import slices_of

_log = logging.getLogger(__name__)
_NOTHING = np.empty((1, 0, 0), np.float32)
_SAME_FOR_ALL = ("units", "value_range", "voi", "invert_display", "padding")


class _Decoder:
    """Decodes frames of files, keeping the last file parsed, and remembers how each frame was read."""

    def __init__(self, known: dict[DicomFile, pydicom.Dataset]) -> None:
        self.known = known
        self.read: dict[tuple[DicomFile, int], Frame] = {}
        self.shown: list[FrameRef] = []

    def dataset(self, file: DicomFile) -> pydicom.Dataset:
        if file not in self.known:
            self.known.clear()
            self.known[file] = read_dataset(file)
        return self.known[file]

    def view(self, ref: FrameRef) -> np.ndarray:
        """Pixels ``[C, H, W]`` of a frame."""
        frame = decode_frame(self.dataset(ref.file), ref.index, ref.file.name)
        if frame.pixels.shape[-2:] != ref.shape:
            raise InputError(f"{ref.file.name}: decodes to another size than its header says; export it again")
        self.read[ref.file, ref.index] = replace(frame, pixels=_NOTHING)
        return frame.pixels

    def shown_frames(self) -> list[Frame]:
        """How the frames that are shown were read; of a slice across frames and of a slide, the first of them."""
        return [self.read[ref.file, ref.index] for ref in self.shown]


def read_dicom(
    path: str, files: list[DicomFile], *, slice: Rule = "middle", plane: str = "auto", frame: Rule = "auto",
    series: int | str | None = None, skipped: int = 0,
) -> CaseImage:  # fmt: skip
    """DICOM files of one case -> `CaseImage`.

    Args:
        path: what the user gave, for ``meta`` and messages.
        files: one file, or all files of a folder or archive (`scripts.reading.sources`).
        slice: which slices of a volume, see `scripts.reading.slices`.
        plane: "axial", "coronal", "sagittal", or "auto" (`Volume.natural_plane`).
        frame: which frames of a cine, or which volume where several share their positions.
        series: SeriesNumber or SeriesInstanceUID to take from a folder, also of what is no image, such as a dose grid;
            the largest series of images unless given.
        skipped: files passed over because they are not DICOM, for the notes.

    Raises:
        InputError: nothing to read, or the chosen series, slice, plane or frame does not exist.
    """
    meta = base_meta(path, f"pydicom {pydicom.__version__}", "dicom")
    if skipped:
        meta["notes"].append(f"{skipped} other files were passed over")
    with quiet_pydicom():
        known, frames = _frames(path, files, meta)
        stacks = stacks_of(frames)
        if series is None:
            stacks = _images(path, known, stacks, meta)
        stack = _choose_series(path, stacks, series, meta)
        decoder = _Decoder(known)
        views = whole_slide(known, stack, decoder.view, meta)
        if views is None:
            views = _views(stack, decoder, meta, slice=slice, plane=plane, frame=frame)
        _describe(meta, decoder, stack)
    case = finish_case(views, meta)
    if meta["units"] == "HU" and meta["modality"] == "":
        meta["units"] = "stored"
    return case


def _why_no_pixels(dataset: pydicom.Dataset) -> str:
    if is_image_class(dataset):
        return "is a DICOM image without its pixels: cut short, or exported without them; export it again"
    return f"is {describe_document(dataset)}, which holds no image; give an image"


def _frames(
    path: str, files: list[DicomFile], meta: dict[str, Any]
) -> tuple[dict[DicomFile, pydicom.Dataset], list[FrameRef]]:
    """(data sets that were read whole, all frames with pixels)."""
    if len(files) == 1:
        dataset = read_dataset(files[0])
        check_syntax(dataset, files[0].name)
        if not any(k in dataset for k in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
            raise InputError(f"{files[0].name}: {_why_no_pixels(dataset)}")
        check_frame(dataset, files[0].name)
        return {files[0]: dataset}, frames_of(files[0], dataset)
    frames, unusable = [], 0
    for file in files:
        try:
            frames += frames_at(file)
        except InputError:
            unusable += 1
    if unusable:
        meta["notes"].append(f"{unusable} damaged DICOM files were passed over")
    if not frames:
        raise InputError(f"{path}: none of its {len(files)} DICOM files holds an image; give a folder with a series")
    return {}, frames


def _images(
    path: str, known: dict[DicomFile, pydicom.Dataset], stacks: list[Stack], meta: dict[str, Any]
) -> list[Stack]:
    """The stacks to choose from when no series is named: masks, dose grids and maps are left out, and that is noted.

    One file (``known``) was named itself: a dose grid or map is then what is wanted, but of a mask nothing can be told.
    """
    for file, dataset in known.items():
        if is_segmentation(dataset):
            raise InputError(f"{file.name}: is a segmentation, not an image; give the images that it was drawn on")
        return stacks
    images = [stack for stack in stacks if stack.is_image]
    left = len({frame.file for stack in stacks if not stack.is_image for frame in stack.frames})
    if not images:
        raise InputError(
            f"{path}: holds no images but {left} segmentations, dose grids or maps; choose one with series="
        )
    if left:
        meta["notes"].append(f"{left} files with segmentations, dose grids or maps were left out; series= takes one")
    return images


def _choose_series(path: str, stacks: list[Stack], wanted: int | str | None, meta: dict[str, Any]) -> Stack:
    """The stack to read; says so, in the log and in the notes, when there was a choice."""
    if wanted is not None:
        text = str(wanted).strip().upper()
        stacks = [s for s in stacks if text in (str(s.frames[0].series_number), s.frames[0].series)]
        if not stacks:
            raise InputError(f"{path}: holds no series {wanted}; give one of its series numbers")
    chosen = stacks[0]
    meta["series"] = noted_series(chosen, len(stacks))
    if len(stacks) > 1:
        others = ", ".join(f"series {s.frames[0].series_number} with {len(s.frames)}" for s in stacks[1:9])
        message = (
            f"holds {len(stacks)} groups of images; took series {chosen.frames[0].series_number} with "
            f"{len(chosen.frames)} and left {others}; choose with series="
        )
        meta["notes"].append(message)
        _log.warning("%s: %s", path, message)
    return chosen


def _views(
    stack: Stack, decoder: _Decoder, meta: dict[str, Any], *, slice: Rule, plane: str, frame: Rule
) -> list[np.ndarray]:
    path = meta["path"]
    if not stack.has_positions:
        return _cine_views(stack, decoder, meta, slice, frame)

    def middle(index: int) -> np.ndarray:
        return decoder.view(stack.volumes[index][len(stack.volumes[index]) // 2])

    count = len(stack.volumes)
    chosen = choose(count, "first" if frame == "auto" else frame, fetch=middle, what="frame", path=path)
    if count > 1:
        meta["frame"] = chosen
        if frame == "auto":
            meta["notes"].append(f"{count} images share each position; the first of each was taken")
    views: list[np.ndarray] = []
    for index in chosen:
        refs = stack.volumes[index]
        volume, notes = volume_of(refs, decoder.view)
        meta["notes"] += [n for n in notes if n not in meta["notes"]]
        views += slices_of(volume, meta, slice=slice, plane=plane)
        stored = [volume.stored_at(meta["orientation"]["plane"], at) for at in meta["slice"]]
        decoder.shown += [refs[at] if axis == 2 else refs[0] for axis, at in stored]
    return views


def _cine_views(
    stack: Stack, decoder: _Decoder, meta: dict[str, Any], slice: Rule, frame: Rule
) -> list[np.ndarray]:  # fmt: skip
    """Frames without positions, as stored."""
    refs = stack.frames
    one_file = len({ref.file for ref in refs}) == 1 or refs[0].part_of != ""
    what = "slice" if stack.is_pile and not one_file and frame == "auto" else "frame"
    rule = slice if what == "slice" else frame if frame != "auto" else "middle" if one_file else "first"
    chosen = choose(len(refs), rule, what=what, path=meta["path"], fetch=lambda i: decoder.view(refs[i]))
    first = refs[chosen[0]]
    check_bytes(meta["path"], len(chosen) * first.shape[0] * first.shape[1] * 12)
    if len(refs) > 1:
        meta[what] = chosen
        if what == "slice":
            how = f"{len(refs)} images without positions or orientations, in the order of {order_of(refs)}"
            meta["notes"].append(f"{how}; {', '.join(str(at) for at in chosen[:5])} of 0 to {len(refs) - 1} taken")
        elif frame == "auto":
            kind = "frames" if one_file else "images without positions"
            meta["notes"].append(f"{len(refs)} {kind}; the {rule} one was taken")
    decoder.shown = [refs[index] for index in chosen]
    if first.orientation is not None:
        right, down = list(first.orientation[:3]), list(first.orientation[3:])
        meta["orientation"] = {"plane": plane_of(right + down), "rows_towards": letters_of(down),
                               "columns_towards": letters_of(right), "as_stored": True,
                               "off_axis_degrees": off_axis_degrees(right + down), "known": True}  # fmt: skip
    meta["spacing_mm"] = [round(s, 6) for s in first.spacing] if first.spacing else None
    return [decoder.view(refs[index]) for index in chosen]


def _describe(meta: dict[str, Any], decoder: _Decoder, stack: Stack) -> None:
    """Copy what may leave the header of the first frame shown, and what was done to all shown, to ``meta``."""
    decoder.shown = decoder.shown or stack.frames[:1]
    shown = decoder.shown_frames()
    dataset, frame = decoder.dataset(decoder.shown[0].file), shown[0]
    meta["modality"], meta["dicom_modality"] = attributes.modality_of(dataset)
    meta["modality_source"] = "header" if meta["modality"] else ""
    meta["body_part"] = attributes.body_part_of(dataset)
    meta["acquisition"] = acquisition_of(dataset)
    meta["window_hint"] = attributes.window_hint_of(dataset)
    burned = attributes.word(dataset, "BurnedInAnnotation")
    meta["burned_in"] = burned if burned in ("YES", "NO") else ""
    meta["luts"] = frame.luts
    for key in _SAME_FOR_ALL:
        meta[key] = getattr(frame, key)
    if any(other.voi != frame.voi for other in shown):
        meta["voi_of_views"] = [other.voi for other in shown]
    meta["notes"] += [note for note in dict.fromkeys(n for f in shown for n in f.notes) if note not in meta["notes"]]
    meta["notes"] += geometry_remarks(dataset)
    regions = attributes.ultrasound_regions_of(dataset)
    if regions:
        meta["us_regions"] = regions
    aspect = attributes.numbers(dataset, "PixelAspectRatio", 2)
    if meta["spacing_mm"] is None and aspect and min(aspect) > 0:
        meta["pixel_aspect"] = aspect
