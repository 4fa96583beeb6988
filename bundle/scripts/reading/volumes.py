"""Volumes: NIfTI, Analyze and MGH through nibabel; NRRD and MetaImage by readers of this package.

Rules
    * Slices come out upright and in the same order as those of the DICOM series that the file was made from
      (`scripts.reading.orientation`). Analyze has no orientation of its own: nibabel's convention (stored
      right-to-left, x flipped) is used and noted. So it is for NIfTI whose qform_code and sform_code are both 0, and
      for NRRD without a space. A 2-D image states no plane.
    * 4-D and sequences: ``frame`` chooses the volume, the first unless told.
    * Components: three or four of 8 bits are colour (alpha dropped); otherwise the first is taken and noted.
    * Slope and intercept are applied. The modality is "CT" where the values say so (`looks_like_hu`), else unknown.
    * Label volumes are refused (`scripts.reading.labels`). Compressed ones are read to their end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scripts.errors import InputError
from scripts.reading.case import CaseImage, base_meta, check_bytes, check_size, finish_case
from scripts.reading.given_rescale import apply_rescale
from scripts.reading.labels import refuse_labels
from scripts.reading.magic import volume_ending_of
from scripts.reading.metaimage import read_metaimage
from scripts.reading.neuroimage import open_neuroimage
from scripts.reading.nrrd import read_nrrd
from scripts.reading.orientation import Volume, resolve_plane
from scripts.reading.slices import Rule, choose

NIBABEL_ENDINGS = (".nii", ".nii.gz", ".hdr", ".img", ".img.gz", ".hdr.gz", ".mgh", ".mgz")
TEXT_HEADED = (".nrrd", ".nhdr", ".mha", ".mhd")
UNMARKED_ENDINGS = (".hdr", ".img", ".img.gz", ".hdr.gz")
"""Of files that only their names tell: Analyze, and the two halves of a NIfTI pair."""


def read_volume(
    path: str | Path, *, slice: Rule = "middle", plane: str = "auto", frame: Rule = "auto",
    rescale: Sequence[float] | None = None,
) -> CaseImage:  # fmt: skip
    """A volume file -> `CaseImage` with one view a chosen slice.

    Args:
        path, slice, plane, frame: see `scripts.reading.read_case`.
        rescale: slope and intercept that a table gives for stored values (`scripts.reading.given_rescale`).

    Raises:
        InputError: damaged, truncated, of an unknown layout, the slice, plane or frame does not exist, or ``rescale``
            does not fit what the file holds.
    """
    path = str(path)
    reader, frames, get_volume = open_volume(path)
    meta = base_meta(path, reader, "volume")
    chosen = choose(frames, "first" if frame == "auto" else frame, what="frame", path=path,
                    fetch=lambda i: _middle(get_volume(i, meta)))  # fmt: skip
    if len(chosen) > 1 and slice == "all":
        raise InputError(f"{path}: all slices of several volumes are too many views; choose one frame")
    if frames > 1:
        meta["frame"] = chosen
        if frame == "auto":
            meta["notes"].append(f"the file holds {frames} volumes; the first was taken")
    views: list[np.ndarray] = []
    for index in chosen:
        volume = get_volume(index, meta)
        found = slices_of(volume, meta, slice=slice, plane=plane)
        refuse_labels(path, found, volume, meta["orientation"]["plane"])
        views += found
    meta["notes"] = list(dict.fromkeys(meta["notes"]))
    if views[0].shape[0] == 3:
        kind = views[0].dtype
        meta.update(units="display", value_range=[0.0, float(np.iinfo(kind).max)] if kind.kind in "iu" else None)
    case = finish_case(views, meta)
    if rescale is not None:
        apply_rescale(case, rescale, already=looks_like_hu(case.pixels))
    if looks_like_hu(case.pixels):
        case.meta.update(modality="CT", modality_source="values look like Hounsfield units", units="HU")
    return case


def slices_of(volume: Volume, meta: dict[str, Any], *, slice: Rule, plane: str) -> list[np.ndarray]:
    """The chosen slices of a volume as ``[C, H, W]`` each; ``meta`` learns plane, slices and spacing."""
    path = meta["path"]
    plane = resolve_plane(volume, plane, path)
    count = volume.count(plane)
    chosen = choose(count, slice, fetch=lambda i: volume.slice(plane, i), what="slice", path=path)
    first = volume.slice(plane, chosen[0])
    check_size(path, *first.shape[-2:])
    check_bytes(path, len(chosen) * first.size * 4)
    meta.update(slice=chosen, orientation=volume.describe(plane), spacing_mm=volume.pixel_spacing(plane))
    return [first] + [volume.slice(plane, index) for index in chosen[1:]]


def looks_like_hu(pixels: np.ndarray) -> bool:
    """Grey values that only CT has: air near -1000 (or below: padding), tissue near 0, nothing beyond metal.

    True when at least 2 % lie below -850, none above 32,000, at least 2 % lie within -200 to 300, and the smallest is
    at least -10,000. MR, PET and masks have no such negative values.
    """
    if pixels.shape[1] != 1:
        return False
    sample = pixels[..., ::2, ::2]
    low, high = float(sample.min()), float(sample.max())
    if not -10_000 <= low <= -850 or high > 32_000:
        return False
    tissue = (sample > -200) & (sample < 300)
    return bool((sample < -850).mean() >= 0.02 and tissue.mean() >= 0.02)


def _middle(volume: Volume) -> np.ndarray:
    plane = volume.natural_plane()
    return volume.slice(plane, volume.count(plane) // 2)


Opened = tuple[str, int, Callable[[int, dict[str, Any]], Volume]]
"""Reader name, number of volumes, function from a volume's index to `Volume`."""


def open_volume(path: str) -> Opened:
    """A volume file, told by its bytes, or by its name where they do not tell.

    Raises:
        InputError: its header is damaged, or its voxels lie in a file that is not beside it.
    """
    told = volume_ending_of(path)
    name = path.lower()
    if told in TEXT_HEADED or (not told and name.endswith(TEXT_HEADED)):
        return _open_text_headed(path, told)
    if told.startswith(".hdr") and not name.endswith(UNMARKED_ENDINGS):
        raise InputError(f"{path}: is a header whose voxels are in an .img file; give both, named .hdr and .img")
    opened = open_neuroimage(path, told if not name.endswith(UNMARKED_ENDINGS) else "")
    return opened.reader, opened.volumes, opened.volume


def _open_text_headed(path: str, told: str) -> Opened:
    if not told:
        raise InputError(f"{path}: is not an NRRD or MetaImage file, or its header is damaged")
    file = read_nrrd(path) if told == ".nrrd" else read_metaimage(path)

    def get_volume(index: int, meta: dict[str, Any]) -> Volume:
        meta["notes"] += file.notes
        return file.volume(index)

    return file.reader, file.array.shape[0], get_volume
