"""DICOM files that state every modality, plane, projection and weighting, with real pixels of other kinds inside."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import made_files
import numpy as np
from PIL import Image

from scripts.reading.dicom.attributes import MODALITIES
from scripts.reading.dicom.kinds import NO_IMAGE_MODALITIES

ORIENTATIONS = {"axial": made_files.AXIAL, "coronal": made_files.CORONAL, "sagittal": made_files.SAGITTAL}
SILENT = {"OT", "HC", "EPS"}  # codes that say nothing of how an image was made


def headers() -> Iterator[dict[str, object]]:
    """Attributes, one set a file: 200 and some, each modality twice or more."""
    for code in sorted(MODALITIES - NO_IMAGE_MODALITIES - SILENT):
        yield from ({"modality": code}, {"modality": code})
    for code, plane, _ in itertools.product(("CT", "MR", "PT", "NM"), ORIENTATIONS, range(3)):
        yield {"modality": code, "ImageOrientationPatient": ORIENTATIONS[plane], "ImagePositionPatient": [0, 0, 0]}
    for code, view in itertools.product(("CR", "DX"), ("AP", "PA", "LL", "LLD", "RAO", "LAO")):
        yield from ({"modality": code, "ViewPosition": view}, {"modality": code, "ViewPosition": view})
    for view in ("CC", "MLO", "XCC"):
        yield {"modality": "MG", "ViewPosition": view}
    contrasts = ("T1", "T2", "T2_STAR", "PROTON_DENSITY", "FLUID_ATTENUATED", "STIR", "DIFFUSION")
    for contrast, plane in itertools.product(contrasts, ("axial", "sagittal")):
        yield {"modality": "MR", "AcquisitionContrast": contrast, "ImagePositionPatient": [0, 0, 0],
               "ImageOrientationPatient": ORIENTATIONS[plane]}  # fmt: skip
    yield {"modality": "MR", "ImageType": ["DERIVED", "SECONDARY", "ADC"]}
    yield {"modality": "CT", "ContrastBolusAgent": "iodine", "ImageOrientationPatient": made_files.AXIAL,
           "ImagePositionPatient": [0, 0, 0]}  # fmt: skip


def write_stated_files(folder: Path, shared_data: Path) -> list[Path]:
    """The files; each file's pixels are those of the validation image at its place, spread over all kinds."""
    root = shared_data / "medcap-open"
    items = json.loads((root / "datalist.json").read_text(encoding="utf-8"))["validation"]
    asked, paths = list(headers()), []
    for number, tags in enumerate(asked):
        image = Image.open(root / items[number * len(items) // len(asked)]["image"]).convert("L")
        made = made_files.dataset(np.array(image), allocated=8, PixelSpacing=[1, 1], **tags)
        paths.append(made_files.save(folder / f"{number:03}_{tags['modality']}.dcm", made))
    return paths
