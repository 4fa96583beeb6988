"""Modality and plane that a file itself states; captions do not contradict them.

A DICOM header says whether an image is CT or MR, the projection of a film, whether a contrast agent was given, and
enough to know an MR's weighting (`reading.dicom.acquisition`); the axes of a volume say in which plane a slice
lies, if it is near one: people call the plane of a slice that is tilted further by many names. A network that sees
pixels alone takes some MR for CT. So where a file says it, the concept reader weighs only the answers that agree
(:meth:`ConceptReader.guide`). A picture file says none of it, and what a user or a datalist says
is not taken here: figures measured on a datalist stay those of pixels.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from scripts.concepts.fields import family_of
from scripts.concepts.vocabulary import ConceptVocabulary
from scripts.reading.image_meta import ImageMeta

__all__ = ["EXCLUDED", "HeaderAnswers", "header_answers", "only_agreeing"]

HeaderAnswers = Mapping[str, Collection[str]]
"""Field ("modality", "plane") to the answers that agree with the file; a field that is absent is open."""

EXCLUDED = -12.0  # log-probability of an answer that contradicts the file: no beam's words make up for it

# DICOM modality, as readers give it -> families of answers; a plain-film device also makes contrast studies of the gut
_FAMILIES = {
    "CT": ("CT",),
    "MR": ("MR",),
    "XR": ("XR", "RF"),
    "RF": ("RF", "XR", "AN"),
    "XA": ("AN", "RF"),
    "US": ("US",),
    "MG": ("MG",),
    "NM": ("NM",),
    "PT": ("PT",),
}
_SECTIONAL = ("CT", "MR", "PT", "NM", "")  # "": a volume file; a film's axes, or a probe's, are no plane of section
_STATED_WITHIN = 25.0  # degrees between a slice's normal and an axis; spines and hips are cut at up to 20
_WEIGHTINGS = (  # word in a canonical modality -> weighting, the first that matches
    ("adc map", "ADC"), ("diffusion", "DWI"), ("flair", "FLAIR"), ("stir", "STIR"), ("t2*", "T2*"), ("t2-", "T2"),
    ("t1-", "T1"), ("proton-density", "PD"), ("fiesta", "SSFP"), ("mr angiogram", "MRA"),
)  # fmt: skip
_PROJECTIONS = {
    "AP": ("ap", "frontal"), "PA": ("pa", "frontal"), "LATERAL": ("lateral",), "DECUBITUS": ("decubitus",),
    "OBLIQUE": ("oblique",), "CC": ("mammo - cc", "mammo - mag cc", "mammo - xcc"), "MLO": ("mammo - mlo",),
}  # fmt: skip
_PLANES = {"axial": ("axial", "transverse"), "sagittal": ("sagittal",), "coronal": ("coronal",)}


def header_answers(meta: ImageMeta, vocabulary: ConceptVocabulary) -> HeaderAnswers:
    """The answers of a vocabulary that agree with what a reader found in the file, or in all files of a case.

    Args:
        meta: what readers found in the files of the case.
    """
    views = meta.views
    modalities = {view.get("modality") if view.get("modality_source") == "header" else None for view in views}
    planes = {_stated_plane(view) for view in views}
    made = _in_common([view.get("acquisition") or {} for view in views])
    found = {}
    if len(modalities) == 1 and (families := _FAMILIES.get(modalities.pop())):
        of_family = [name for name in vocabulary.fields["modality"] if family_of(name) in families]
        found["modality"] = _agreeing(of_family, made) or of_family
    if len(planes) == 1 and (agreeing := _PLANES.get(planes.pop())):
        found["plane"] = [name for name in vocabulary.fields["plane"] if name in agreeing]
    if projections := _PROJECTIONS.get(str(made.get("projection"))):
        found["plane"] = [name for name in vocabulary.fields["plane"] if name in projections]
    return {field: answers for field, answers in found.items() if answers}


def _stated_plane(view: Mapping[str, Any]) -> str | None:
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


def _agreeing(names: Sequence[str], made: Mapping[str, Any]) -> list[str]:
    """The answers to modality that say how the image was made; where none says the weighting, those without one."""
    if made.get("contrast_agent"):
        names = [name for name in names if not name.startswith("non-contrast")]
    if known := made.get("weighting"):
        said = {name: _weighting_in(name) for name in names}
        names = [n for n in names if said[n] == known] or [n for n in names if said[n] is None]
    return list(names)


def _weighting_in(name: str) -> str | None:
    return next((weighting for word, weighting in _WEIGHTINGS if word in name), None)


def only_agreeing(
    fields: Mapping[str, Tensor], vocabulary: ConceptVocabulary, known: Sequence[HeaderAnswers]
) -> dict[str, Tensor]:
    """Log-probabilities of answers given what files say: ``p(a) / sum p(agreeing)``, and ``EXCLUDED`` for the others.

    Args:
        fields: ``[B, answers]`` by field.
        known: of each of the B images.
    """
    result = dict(fields)
    for field, read in fields.items():
        names = vocabulary.fields[field]
        agrees = torch.tensor([[name in says.get(field, names) for name in names] for says in known], dtype=torch.bool)
        agrees = agrees.view(read.shape).to(read.device)
        given = read.masked_fill(~agrees, -torch.inf)
        result[field] = (given - given.logsumexp(dim=1, keepdim=True)).masked_fill(~agrees, EXCLUDED)
    return result
