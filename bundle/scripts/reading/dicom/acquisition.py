"""Acquisition of an image, from its DICOM header: projection, contrast agent, MR weighting.

Headers seldom name an MR weighting; they give the times that make it. Only times that leave no doubt are taken, in
ranges that textbooks of MR physics agree on (for spin echo: T1 has short repetition and short echo, T2 long and long,
proton density long and short; an inversion of about 2 s nulls fluid, one of about 150 ms nulls fat). A spoiled gradient
echo is T1-weighted where its flip angle is well above the Ernst angle ``arccos(exp(-TR / T1))`` of tissue. Between
them, and for other gradient echoes, nothing is said.
"""

from __future__ import annotations

import math

from pydicom import Dataset

from scripts.reading.dicom.attributes import number, word

_PROJECTIONS = {
    "AP": "AP", "PA": "PA", "LL": "LATERAL", "RL": "LATERAL", "LAT": "LATERAL", "LATERAL": "LATERAL",
    "LLD": "DECUBITUS", "RLD": "DECUBITUS",
    "RAO": "OBLIQUE", "LAO": "OBLIQUE", "RPO": "OBLIQUE", "LPO": "OBLIQUE", "LLO": "OBLIQUE", "RLO": "OBLIQUE",
}  # fmt: skip
_BREAST_PROJECTIONS = {"CC": "CC", "XCC": "CC", "XCCL": "CC", "XCCM": "CC", "MLO": "MLO"}
_CONTRASTS = {
    "T1": "T1", "T2": "T2", "T2_STAR": "T2*", "PROTON_DENSITY": "PD", "FLUID_ATTENUATED": "FLAIR", "STIR": "STIR",
    "DIFFUSION": "DWI",
}  # fmt: skip
"""AcquisitionContrast of enhanced MR (DICOM PS3.3 C.8.13.3.1.2)."""

_TISSUE_T1 = 1000.0  # ms; of muscle, brain and organs at 1.5 to 3 T


def acquisition_of(header: Dataset) -> dict[str, str | bool]:
    """What is certain of ``projection`` (films), ``contrast_agent`` (True) and ``weighting`` (MR); the rest is absent.

    ``projection`` is AP, PA, LATERAL, DECUBITUS, OBLIQUE, CC or MLO; ``weighting`` T1, T2, T2*, PD, FLAIR, STIR, DWI or
    ADC.
    """
    modality = word(header, "Modality")
    found: dict[str, str | bool] = {}
    projections = {"CR": _PROJECTIONS, "DX": _PROJECTIONS, "MG": _BREAST_PROJECTIONS}.get(modality, {})
    if projection := projections.get(word(header, "ViewPosition")):
        found["projection"] = projection
    if modality in ("CT", "MR") and word(header, "ContrastBolusAgent") not in ("", "NO", "NONE", "N/A", "0"):
        found["contrast_agent"] = True
    if modality == "MR" and (weighting := _weighting(header)):
        found["weighting"] = weighting
    return found


def _weighting(header: Dataset) -> str:
    """Of an MR image; "" where it is not certain."""
    types = set(word(header, "ImageType").split("\\"))
    if "ADC" in types:
        return "ADC"
    if types & {"DIFFUSION", "TRACEW"}:
        return "DWI"
    if named := _CONTRASTS.get(word(header, "AcquisitionContrast")):
        return named
    sequence = set(word(header, "ScanningSequence").split("\\"))
    echo, repetition = number(header, "EchoTime"), number(header, "RepetitionTime")
    inversion = number(header, "InversionTime") or 0.0
    if not echo or not repetition:
        return ""
    if sequence == {"GR"} and not inversion:
        return _of_gradient_echo(header, repetition, echo)
    if not sequence <= {"SE", "IR"}:
        return ""
    if "IR" in sequence or inversion:
        return _of_inversion(inversion, echo)
    return _of_spin_echo(repetition, echo)


def _of_spin_echo(repetition: float, echo: float) -> str:
    """Times in milliseconds."""
    if repetition <= 800 and echo <= 30:
        return "T1"
    if repetition >= 2000 and echo >= 70:
        return "T2"
    if repetition >= 2000 and echo <= 30:
        return "PD"
    return ""


def _of_gradient_echo(header: Dataset, repetition: float, echo: float) -> str:
    """Times in milliseconds. Angiograms are spoiled gradient echoes too, and nobody calls them T1-weighted."""
    variant = set(word(header, "SequenceVariant").split("\\"))
    types = word(header, "ImageType").split("\\")
    angiogram = word(header, "AngioFlag") == "Y" or any("MIP" in kind or "PROJECTION" in kind for kind in types)
    flip = number(header, "FlipAngle")
    if angiogram or "SP" not in variant or flip is None or echo > 6:
        return ""
    ernst = math.degrees(math.acos(math.exp(-repetition / _TISSUE_T1)))
    return "T1" if flip >= 1.3 * ernst else ""


def _of_inversion(inversion: float, echo: float) -> str:
    """Times in milliseconds."""
    if 1500 <= inversion <= 3000 and echo >= 70:
        return "FLAIR"
    if 80 <= inversion <= 250:
        return "STIR"
    return ""
