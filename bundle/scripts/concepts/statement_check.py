"""Agreement of captions with what a file states, and a caption of nothing else for where no caption agrees.

Decoding weighs what a file states (`header`), but a language model that is not guided, samples, or finds words that the
weighing does not know may still contradict it. A finished caption that contradicts its file, or does not let its
modality or plane be read, is not chosen. Where none is left, the caption is composed of what the file states.
"""

from __future__ import annotations

from scripts.concepts.mentions import families_in, planes_in_view, says_without_contrast, weightings_in
from scripts.concepts.stated import Stated
from scripts.data.composed import capitalised

_NAMES = {
    "CT": "CT", "MR": "MRI", "MA": "MR angiogram", "XR": "X-ray", "RTIMAGE": "X-ray",
    "BMD": "bone densitometry image", "RF": "fluoroscopy image", "DF": "fluoroscopy image", "CF": "fluoroscopy image",
    "XA": "angiogram", "DS": "angiogram",
    "MG": "mammogram", "NM": "nuclear medicine image", "PT": "PET image", "ES": "endoscopic image",
    "GM": "microscopic image", "OCT": "optical coherence tomogram", "OP": "ophthalmic image", "XC": "photograph",
    "US": "ultrasound", "TG": "thermographic image", "LS": "surface scan", "DG": "diaphanography image",
    "PA": "photoacoustic image", "BI": "biomagnetic image",
}  # fmt: skip
_WEIGHTED = {
    "T1": "T1-weighted MRI", "T2": "T2-weighted MRI", "T2*": "T2*-weighted MRI", "PD": "proton-density MRI",
    "FLAIR": "FLAIR MRI", "STIR": "STIR MRI", "DWI": "diffusion-weighted MRI", "ADC": "MRI ADC map",
}  # fmt: skip


def contradicts(text: str, stated: Stated) -> bool:
    """Whether a caption, or its beginning, says a modality, plane or weighting that its file does not allow."""
    if stated.families and not families_in(text) <= set(stated.families):
        return True
    if stated.planes and not planes_in_view(text) <= set(stated.planes):
        return True
    if stated.weighting and not weightings_in(text) <= {stated.weighting}:
        return True
    return stated.contrast_agent and says_without_contrast(text)


def disagreement(caption: str, stated: Stated) -> str:
    """Why a finished caption is not chosen; "" where it agrees with what the file states."""
    if contradicts(caption, stated):
        return f"it contradicts the file ({stated})"
    if stated.families and not families_in(caption):
        return "its modality cannot be read"
    if stated.planes and not planes_in_view(caption):
        return "its plane cannot be read"
    return ""


def composed_caption(stated: Stated, organ: str | None = None) -> str:
    """A caption of what a file states, and of the organ where something else tells it: "Axial CT of the head."."""
    plane = {"LATERAL": "Lateral", "DECUBITUS": "Decubitus", "OBLIQUE": "Oblique"}.get(stated.plane, stated.plane)
    plane = plane.capitalize() if plane.islower() else plane
    named = _NAMES.get(stated.modality) or _NAMES.get(next(iter(stated.families), ""), "image")
    if stated.modality == "MR":
        named = _WEIGHTED.get(stated.weighting, named)
        named += " with gadolinium" if stated.contrast_agent and stated.weighting == "T1" else ""
    named = f"{plane} {named}" if plane else capitalised(named)
    return f"{named} of the {organ}." if organ else f"{named}."
