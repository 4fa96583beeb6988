"""Output ``nifti_mask``: the region of each word as a NIfTI mask on the voxels of the source file.

A mask lies on the very voxels that its pixels were read from: the slice, turned and flipped back, in a volume of the
source's size and affine. DICOM series whose slices are unevenly spaced give a mask of the one slice. Pictures and DICOM
images without a position have no place in a patient; their masks are one slice with sform and qform code 0 (unknown).
So are those codes where a volume file does not say how it lies.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from scripts.atomic import write_atomically, write_text_atomically
from scripts.data.record_lines import json_text
from scripts.errors import InputError
from scripts.explanation.geometry import file_of_view
from scripts.explanation.masks import WordMask, word_masks
from scripts.explanation.source_grid import SourceGrid, source_grid
from scripts.outputs.captioned_case import CaptionedCase
from scripts.outputs.case_files import clean
from scripts.outputs.record import source_name
from scripts.outputs.report_writer import FolderWriter

SCANNER, UNKNOWN = 1, 0


class NiftiMaskWriter(FolderWriter):
    """A folder a case in ``output_dir/nifti_mask``: a ``.nii.gz`` a word, and ``masks.json`` that says what each is."""

    folder = "nifti_mask"
    needs_explanation = True

    def add(self, case: CaptionedCase) -> list[Path]:
        """Write the masks of one case.

        Raises:
            InputError: it has no explanation, came from no file, or its slices have no regular grid.
        """
        if case.record.get("error"):
            return []
        folder = self.directory / self.names.stem(case.source)
        masks = masks_of(case)
        written, listed = [], []
        for mask in masks:
            path = folder / f"{mask.word:02d}_{clean(mask.text, 40) or 'word'}.nii.gz"
            grid = grid_of(case, mask)
            image = nifti_of(mask.mask, grid)
            written.append(write_atomically(path, lambda file, image=image: file.write(_packed(image)) and None))
            listed.append({"file": path.name, **described(mask), "known_position": grid.known})
        about = {"image": case.source, "caption": case.record.get("caption"),
                 "prompt": case.record.get("prompt") or "", "method": case.explanation.method,
                 "notice": "Regions that words rest on, drawn by a machine. For research, not for diagnosis.",
                 "masks": listed}  # fmt: skip
        written.append(write_text_atomically(folder / "masks.json", json_text(about, indent=2)))
        return written


def masks_of(case: CaptionedCase) -> list[WordMask]:
    """Regions of the case's content words, at least one.

    Raises:
        InputError: there are none.
    """
    name = source_name(case.source)
    if case.explanation is None:
        raise InputError(f"{name}: was captioned without an explanation: set explain to true, or leave masks out")
    masks = word_masks(case.explanation, case.record["trace"]["input"])
    if not masks:
        reason = "; ".join(case.explanation.notes) or "its caption has no word with a region"
        raise InputError(f"{name}: {reason}, so there is no mask to write: leave masks out for it")
    return masks


def grid_of(case: CaptionedCase, mask: WordMask) -> SourceGrid:
    """The voxels that the mask's view shows."""
    meta, place = file_of_view(case.record["trace"]["input"], mask.view)
    return source_grid(meta, place)


def described(mask: WordMask) -> dict[str, Any]:
    """What a mask is, for files that accompany it."""
    share: Mapping[str, float] = {name: round(value, 4) for name, value in mask.share.items()}
    return {"word": mask.text, "position": mask.word, "view": mask.view, "pixels": int(mask.mask.sum()),
            "from": mask.source, "method": mask.method, "log_probability": round(mask.logprob, 5),
            "share": share}  # fmt: skip


def nifti_of(mask: np.ndarray, grid: SourceGrid) -> nib.Nifti1Image:
    """A mask ``[H, W]`` of a view as a NIfTI image of the source's voxels.

    Raises:
        InputError: the slices across which the view was cut lie at uneven distances, which NIfTI cannot say.
    """
    if not grid.regular:
        raise InputError(
            f"{grid.frames[0].file.name}: its slices are unevenly spaced or slanted, which NIfTI cannot express across "
            "them; use the output dicom_seg, or caption in the acquired plane"
        )
    image = nib.Nifti1Image(grid.place(mask), grid.affine)
    code = SCANNER if grid.known else UNKNOWN
    image.set_qform(grid.affine, code)
    image.set_sform(grid.affine, code)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = b"word region, not for diagnosis"
    return image


def _packed(image: nib.Nifti1Image) -> bytes:
    """Gzip without a time stamp, so that equal masks give equal files."""
    import gzip

    buffer = BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=6, mtime=0) as file:
        file.write(image.to_bytes())
    return buffer.getvalue()
