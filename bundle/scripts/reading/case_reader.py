"""`read_case`: any medical image -> pixels and meta."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scripts.errors import InputError
from scripts.reading.burned_in import mask_text as mask_text_in
from scripts.reading.case import CaseImage
from scripts.reading.dicom.image import read_dicom
from scripts.reading.pictures import read_picture
from scripts.reading.slices import Rule
from scripts.reading.sources import identify
from scripts.reading.volumes import read_volume


def read_case(
    path: str | Path, *, slice: Rule = "middle", plane: str = "auto", frame: Rule = "auto",
    series: int | str | None = None, modality: str | None = None, mask_text: bool = False,
    rescale: Sequence[float] | None = None,
) -> CaseImage:  # fmt: skip
    """Read a medical image, whatever it is.

    Args:
        path: a file (DICOM, NIfTI, NRRD, MetaImage, Analyze, PNG, JPEG, TIFF, BMP, WebP, GIF), a folder with a DICOM
            series or study, a DICOMDIR, or a zip of a study.
        slice: which slices of a volume: index, fraction, "middle", "most_informative", "informative:N", "even:N",
            "all", or a list.
        plane: "axial", "coronal", "sagittal"; "auto" is axial unless the volume has thick slices in another plane.
        frame: which frame of a cine, page of a picture, or volume of a 4-D file; "auto" is the middle frame of a cine,
            the first page, the first volume.
        series: SeriesNumber (or SeriesInstanceUID) to take from a folder; its largest series of images unless given.
        modality: overrides what the file says, for example "CT" for a NIfTI file whose values do not show it.
        mask_text: blank text burned into the pixels (`scripts.reading.burned_in`, a heuristic).
        rescale: slope and intercept of a volume whose file holds stored values (`scripts.reading.given_rescale`).

    Returns:
        `CaseImage`: pixels float32 ``[V, C, H, W]`` upright in stored physical units, and meta.

    Raises:
        InputError: one sentence that names the file and what to do.
    """
    path = str(path)
    try:
        with identify(path) as source:
            if rescale is not None and source.kind != "volume":
                raise InputError(f"{path}: rescale is for volumes (NIfTI and the like); remove it for this image")
            if source.kind == "dicom":
                case = read_dicom(path, source.files, slice=slice, plane=plane, frame=frame, series=series,
                                  skipped=source.skipped)  # fmt: skip
            elif source.kind == "volume":
                case = read_volume(source.path, slice=slice, plane=plane, frame=frame, rescale=rescale)
            else:
                case = read_picture(source.path, frame=frame)
    except InputError:
        raise
    except MemoryError:
        raise InputError(f"{path}: does not fit into memory; crop or reduce it first") from None
    except Exception as error:  # a damaged file must not end a batch; the library's text may quote the header
        kind = type(error).__name__
        raise InputError(f"{path}: is damaged or of an unknown layout ({kind}); export it again") from None
    if modality is not None:
        case.meta.update(modality=modality.upper(), modality_source="given")
        if modality.upper() == "CT" and source.kind == "volume":
            case.meta["units"] = "HU"
    return mask_text_in(case) if mask_text else case
