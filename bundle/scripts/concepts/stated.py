"""Statements of a file about its image: modality, plane or projection, and how it was made.

A DICOM header says whether an image is CT or MR, the projection of a film, whether a contrast agent was given, and
enough to know an MR's weighting (`reading.dicom.acquisition`); the axes of a volume say in which plane a slice
lies, if it is near one: people call the plane of a slice that is tilted further by many names. A network that sees
pixels alone takes some MR for CT. A picture file says none of it, and what a user or a datalist says is not taken here:
figures measured on a datalist stay those of pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scripts.reading.image_meta import ImageMeta

# DICOM modality, as readers give it -> families of words that agree (`mentions`); a plain-film device also makes
# contrast studies of the gut, and a C-arm both pictures of vessels and of the gut
_FAMILIES = {
    "CT": ("CT",), "MR": ("MR",), "MA": ("MR",), "MS": ("MR",), "XR": ("XR", "RF"), "RTIMAGE": ("XR", "RF"),
    "BMD": ("XR",), "RF": ("RF", "XR", "AN"), "DF": ("RF", "XR", "AN"), "CF": ("RF", "XR", "AN"),
    "XA": ("AN", "RF"), "DS": ("AN", "RF"), "US": ("US",), "IVUS": ("US",), "BDUS": ("US",), "EC": ("US",),
    "CD": ("US",), "DD": ("US",), "MG": ("MG",), "NM": ("NM",), "ST": ("NM",), "PT": ("PT",),
    "ES": ("ES",), "CP": ("ES",), "CS": ("ES",), "LP": ("ES",),
    "GM": ("GM",), "SM": ("GM",), "DM": ("GM",), "CFM": ("GM",),
    "OCT": ("OCT",), "OPT": ("OCT",), "OPTBSV": ("OCT",), "OPTENF": ("OCT",), "IVOCT": ("OCT",),
    "OP": ("OP",), "FA": ("OP",), "FS": ("OP",), "OPM": ("OP",), "OPV": ("OP",), "AR": ("OP",), "IOL": ("OP",),
    "KER": ("OP",), "LEN": ("OP",), "OAM": ("OP",), "SMR": ("OP",), "SRF": ("OP",), "VA": ("OP",), "OPR": ("OP",),
    "VF": ("OP",), "XC": ("XC",), "DMS": ("XC",), "TG": ("TG",), "LS": ("LS",), "OSS": ("LS",),
    "DG": ("DG",), "PA": ("PA",), "BI": ("BI",),
}  # fmt: skip
_SECTIONAL = ("CT", "MR", "PT", "NM", "")  # "": a volume file; a film's axes, or a probe's, are no plane of section
_STATED_WITHIN = 25.0  # degrees between a slice's normal and an axis; spines and hips are cut at up to 20

PROJECTIONS = {
    "AP": ("ap", "frontal"), "PA": ("pa", "frontal"), "LATERAL": ("lateral",), "DECUBITUS": ("decubitus",),
    "OBLIQUE": ("oblique",), "CC": ("mammo - cc", "mammo - mag cc", "mammo - xcc"), "MLO": ("mammo - mlo",),
}  # fmt: skip
"""Projection that a header states -> planes, as captions name them, that agree."""
PLANES = {"axial": ("axial", "transverse"), "sagittal": ("sagittal",), "coronal": ("coronal",)}
"""Plane of a slice -> planes, as captions name them, that agree."""


@dataclass(frozen=True)
class Stated:
    """What all files of a case state alike.

    Attributes:
        modality: DICOM code as readers give it ("CT", "XR" of all plain film, "ES"), "" where nothing is stated.
        plane: of :data:`PLANES` or :data:`PROJECTIONS`, "" where nothing is stated.
        weighting: of an MR image: T1, T2, T2*, PD, FLAIR, STIR, DWI, ADC, or "".
        contrast_agent: whether one was given; False where nothing is stated.
    """

    modality: str = ""
    plane: str = ""
    weighting: str = ""
    contrast_agent: bool = False

    def __bool__(self) -> bool:
        return bool(self.modality or self.plane)

    def __str__(self) -> str:
        said = (self.modality, self.plane, self.weighting and f"{self.weighting}-weighted")
        return ", ".join(word for word in said if word)

    @property
    def families(self) -> tuple[str, ...]:
        """Families of modality words that agree; empty where all do."""
        return _FAMILIES.get(self.modality, ())

    @property
    def planes(self) -> tuple[str, ...]:
        """Planes and projections that agree, as captions name them; empty where all do."""
        return PROJECTIONS.get(self.plane) or PLANES.get(self.plane, ())


def stated_by(meta: ImageMeta) -> Stated:
    """What a reader found in the file, or alike in all files of a case."""
    views = meta.views
    modalities = {view.get("modality") if view.get("modality_source") == "header" else None for view in views}
    planes = {_plane_of(view) for view in views}
    made = _in_common([view.get("acquisition") or {} for view in views])
    modality = str(modalities.pop() or "") if len(modalities) == 1 else ""
    plane = str(planes.pop() or "") if len(planes) == 1 else ""
    projection = str(made.get("projection") or "")
    return Stated(
        modality if modality in _FAMILIES else "",
        projection if projection in PROJECTIONS else plane if plane in PLANES else "",
        str(made.get("weighting") or ""),
        bool(made.get("contrast_agent")),
    )


def _plane_of(view: Mapping[str, Any]) -> str | None:
    """The plane that a file says its slice lies in."""
    lies = view.get("orientation") or {}
    sectional = view.get("modality", "") in _SECTIONAL and (view.get("modality") or view.get("kind") != "dicom")
    if not sectional or not lies.get("known", True) or lies.get("off_axis_degrees", 0.0) > _STATED_WITHIN:
        return None
    return lies.get("plane")


def _in_common(acquisitions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all views' headers say alike."""
    first, *others = acquisitions
    return {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}
