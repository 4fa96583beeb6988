"""Volumes: NIfTI, Analyze and MGH through nibabel; NRRD and MetaImage through ITK.

Rules
    * Slices come out upright and in the same order as those of the DICOM series that the file was made from
      (`scripts.reading.orientation`). Analyze has no orientation of its own: nibabel's convention (stored
      right-to-left, x flipped) is used and noted. So it is for NIfTI whose qform_code and sform_code are both 0, and
      for NRRD without a space.
    * 4-D: ``frame`` chooses the volume, the first unless told; with 5 axes, the fifth is the component.
    * Components: three or four of 8 bits are colour (alpha dropped); otherwise the first is taken and noted.
    * Slope and intercept are applied. The modality is "CT" where the values say so (`looks_like_hu`), else unknown.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scripts.errors import InputError
from scripts.reading.case import MAX_BYTES, CaseImage, base_meta, check_bytes, check_size, finish_case
from scripts.reading.fitting_name import FittingName
from scripts.reading.magic import volume_ending_of
from scripts.reading.orientation import Volume, resolve_plane
from scripts.reading.rescale import apply_rescale
from scripts.reading.slices import Rule, choose

NIBABEL_ENDINGS = (".nii", ".nii.gz", ".hdr", ".img", ".img.gz", ".hdr.gz", ".mgh", ".mgz")
ITK_ENDINGS = (".nrrd", ".nhdr", ".mha", ".mhd")
UNMARKED_ENDINGS = (".hdr", ".img", ".img.gz", ".hdr.gz")
"""Of files that only their names tell: Analyze, and the two halves of a NIfTI pair."""
_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_GZIP_LIMIT = 1040
"""Deflate cannot shrink further than 1032 times; a header that claims more is wrong."""


def read_volume(
    path: str | Path, *, slice: Rule = "middle", plane: str = "auto", frame: Rule = "auto",
    rescale: Sequence[float] | None = None,
) -> CaseImage:  # fmt: skip
    """A volume file -> `CaseImage` with one view a chosen slice.

    Args:
        path, slice, plane, frame: see `scripts.reading.read_case`.
        rescale: slope and intercept that a table gives for stored values (`scripts.reading.rescale`).

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
        views += slices_of(get_volume(index, meta), meta, slice=slice, plane=plane)
    meta["notes"] = list(dict.fromkeys(meta["notes"]))
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
    if told in ITK_ENDINGS or (not told and name.endswith(ITK_ENDINGS)):
        return _open_itk(path, told)
    if told.startswith(".hdr") and not name.endswith(UNMARKED_ENDINGS):
        raise InputError(f"{path}: is a header whose voxels are in an .img file; give both, named .hdr and .img")
    return _open_nibabel(path, told if not name.endswith(UNMARKED_ENDINGS) else "")


def _open_nibabel(path: str, ending: str) -> Opened:
    import nibabel as nib
    from nibabel.arrayproxy import ArrayProxy

    named = FittingName(path, ending)
    try:
        image = nib.load(named.path, mmap="c")
    except (nib.filebasedimages.ImageFileError, nib.spatialimages.HeaderDataError, nib.wrapstruct.WrapStructError):
        raise InputError(f"{path}: is not a NIfTI, Analyze or MGH file, or its header is damaged or missing") from None
    shape = tuple(int(n) for n in image.shape)
    _check_header(path, shape, np.asarray(image.affine))
    proxy = image.dataobj
    _check_length(path, proxy.file_like, shape, proxy.dtype.itemsize, proxy.offset)
    raw = ArrayProxy(proxy.file_like, (shape, proxy.dtype, proxy.offset, 1.0, 0.0), mmap="c")
    scale = (float(proxy.slope), float(proxy.inter))
    name = type(image).__name__.replace("Image", "").replace("Pair", "")
    affine = _TO_LPS @ np.asarray(image.affine, dtype=float)
    known = _says_orientation(image.header)

    def get_volume(index: int, meta: dict[str, Any]) -> Volume:
        if "Nifti" not in name and "MGH" not in name:
            meta["notes"].append("Analyze files do not say left from right; stored right-to-left was assumed")
        elif not known:
            meta["notes"].append(
                "the file does not say how it lies in the patient (in NIfTI, qform_code and sform_code are 0): planes "
                "and sides are not known, stored right-to-left, back-to-front, feet-to-head was assumed"
            )
        if len(shape) > 4 and shape[4] > 1:
            meta["notes"].append(f"each voxel has {shape[4]} components; the first was taken")
        meta["luts"] = ["slope and intercept"] if scale != (1.0, 0.0) else []
        fetch = _nibabel_fetch(path, raw, shape, index, scale, named)
        return Volume(tuple((*shape[:3], 1, 1)[:3]), affine, fetch, known=known)  # type: ignore[arg-type]

    return f"nibabel {name}", shape[3] if len(shape) > 3 else 1, get_volume


def _says_orientation(header: Any) -> bool:
    """Whether a header says how voxels lie in the patient; where none does, nibabel makes up an affine."""
    codes = [name for name in ("qform_code", "sform_code", "goodRASFlag") if name in header.keys()]  # noqa: SIM118
    return any(int(header[name]) > 0 for name in codes)


def _nibabel_fetch(
    path: str, raw: Any, shape: tuple[int, ...], index: int, scale: tuple[float, float], named: FittingName
) -> Callable[[int, int], np.ndarray]:
    """A `Volume.fetch` that reads one slice from disk the first time and the whole volume the second."""
    state: dict[str, Any] = {"calls": 0, "volume": None, "named": named}  # ``raw`` opens the file by that name
    extra = tuple([index, *([0] * (len(shape) - 4))][: max(0, len(shape) - 3)])

    def fetch(axis: int, position: int) -> np.ndarray:
        state["calls"] += 1
        where: list[Any] = [np.s_[:]] * min(3, len(shape))
        if len(shape) == 2:
            where = [np.s_[:], np.s_[:]]
        try:
            if state["calls"] > 1 and state["volume"] is None:
                check_bytes(path, int(np.prod(shape[:3])) * raw.dtype.itemsize)
                state["volume"] = np.asanyarray(raw[(*where, *extra)])
            if axis < len(where):
                where[axis] = position
            plane = state["volume"][tuple(where)] if state["volume"] is not None else raw[(*where, *extra)]
        except (OSError, EOFError, ValueError, gzip.BadGzipFile):
            raise InputError(f"{path}: the voxel data is truncated or damaged; export it again") from None
        plane = np.asarray(plane)
        if len(shape) == 2 and axis != 2:
            plane = plane[:, None]
        return _scaled(plane, scale)

    return fetch


def _scaled(plane: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
    """``[A, B]`` (or RGB records) -> ``[C, A, B]`` with slope and intercept applied in double precision."""
    if plane.dtype.names:
        return np.stack([plane[name] for name in plane.dtype.names[:3]])
    if plane.dtype.kind == "c":
        plane = np.abs(plane)
    plane = plane.astype(plane.dtype.newbyteorder("="), copy=False)
    if scale != (1.0, 0.0):
        plane = (plane.astype(np.float64) * scale[0] + scale[1]).astype(np.float32)
    return plane[None]


def _check_header(path: str, shape: tuple[int, ...], affine: np.ndarray) -> None:
    if not 2 <= len(shape) <= 5 or any(n < 1 for n in shape):
        raise InputError(f"{path}: has the shape {shape}; a volume with 2 to 5 axes, none empty, is needed")
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise InputError(f"{path}: its orientation (affine) is not made of numbers; export it again")


def _check_length(path: str, file_like: Any, shape: tuple[int, ...], item: int, offset: int) -> None:
    """Compare what the header claims with what the file can hold, before any memory is asked for."""
    name = getattr(file_like, "filename", None) or (file_like if isinstance(file_like, (str, Path)) else path)
    if not Path(name).is_file():
        raise InputError(f"{path}: is half of a pair; put its .hdr and its .img in one folder")
    size = Path(name).stat().st_size
    claimed = item
    for n in shape:
        claimed *= n
    packed = str(name).lower().endswith((".gz", ".mgz"))
    if claimed + (0 if packed else offset) > (size * _GZIP_LIMIT if packed else size):
        raise InputError(f"{path}: its header claims {claimed:,} bytes of voxels, which the file cannot hold")
    if claimed // max(1, shape[3] if len(shape) > 3 else 1) > 4 * MAX_BYTES:
        raise InputError(f"{path}: one volume takes {claimed / 2**30:.1f} GiB; crop or resample it first")


def _open_itk(path: str, ending: str) -> Opened:
    from scripts.reading.itk_file import read_itk

    file = read_itk(path, ending)
    shape = (*file.array.shape[1:4][::-1],)

    def get_volume(index: int, meta: dict[str, Any]) -> Volume:
        meta["notes"] += file.notes
        block = file.array[index]  # [z, y, x, component]

        def fetch(axis: int, position: int) -> np.ndarray:
            plane = np.take(block, position, axis=2 - axis)  # the remaining two axes, slowest first
            return plane.transpose(2, 1, 0)

        return Volume(shape, file.affine, fetch, known=file.known)  # type: ignore[arg-type]

    return file.reader, file.array.shape[0], get_volume
