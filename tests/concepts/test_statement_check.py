"""Whatever its wording, a caption that contradicts its file is refused; a composed one says what the file states."""

from __future__ import annotations

import itertools

import pytest

from scripts.concepts.mentions import families_in, planes_in_view, weightings_in
from scripts.concepts.stated import PLANES, PROJECTIONS, Stated, stated_by
from scripts.concepts.statement_check import composed_caption, contradicts, disagreement
from scripts.reading.dicom.attributes import MODALITIES
from scripts.reading.dicom.kinds import NO_IMAGE_MODALITIES
from scripts.reading.image_meta import ImageMeta

NOTHING_STATED = {"OT", "HC", "EPS"}
"""Codes of DICOM that say nothing of how an image was made."""
CODES = sorted((MODALITIES - NO_IMAGE_MODALITIES - NOTHING_STATED - {"CR", "DX", "RG", "PX", "IO"}) | {"XR"})


@pytest.mark.parametrize(
    ("caption", "families"),
    [
        ("Axial CT of the head.", {"CT"}),
        ("Axial diffusion-weighted imaging of the head showing an infarct.", {"MR"}),
        ("Axial T2* gradient-echo image of the brain.", {"MR"}),
        ("CT angiogram of the neck.", {"CT"}),
        ("MR angiogram of the neck.", {"MR"}),
        ("Cerebral angiography, lateral.", {"AN"}),
        ("PET-CT fusion image of the chest.", {"PT"}),
        ("Contrast-enhanced CT and MRI of the liver.", {"CT", "MR"}),
        ("PA plain-film X-ray of the chest showing a cyst, later proved by ultrasound.", {"XR", "US"}),
        ("Barium swallow.", {"RF"}),
        ("Echocardiogram.", {"US"}),
        ("Transaxial image of the spectacular carpet.", set()),
        ("Axial CT of the spine showing a fracture of T1 and T2.", {"CT"}),
        ("CT of the abdomen showing a mass of the gastric fundus and microscopic polyangiitis.", {"CT"}),
        ("Axial T2 images of the brain.", {"MR"}),
        ("Mammo - MLO mammogram of the breast.", {"MG"}),
    ],
)
def test_every_modality_word_is_found(caption: str, families: set[str]) -> None:
    assert families_in(caption) == families


def test_planes_and_weightings_are_those_before_the_finding() -> None:
    assert planes_in_view("Axial CT of the head showing a lateral mass in the sagittal sinus.") == {"axial"}
    assert planes_in_view("Mammo - MAG CC mammogram of the breast.") == {"mammo - mag cc"}
    assert planes_in_view("Axial and coronal MRI of the head.") == {"axial", "coronal"}
    assert weightings_in("Axial T2*-weighted MRI showing T1 shortening.") == {"T2*"}
    assert weightings_in("Diffusion-weighted ADC map.") == {"ADC"}


@pytest.mark.parametrize(
    ("stated", "caption", "agrees"),
    [
        (Stated("CT", "axial"), "Axial CT of the head.", True),
        (Stated("CT", "axial"), "Transverse contrast-enhanced CT of the head.", True),
        (Stated("CT", "axial"), "Axial diffusion-weighted imaging of the head.", False),
        (Stated("CT", "axial"), "Axial image of the head.", False),  # not to be read
        (Stated("CT", "axial"), "CT of the head.", False),
        (Stated("CT", "axial"), "Coronal CT of the head.", False),
        (Stated("CT"), "Axial CT of the head, as on MRI.", False),
        (Stated("CT", contrast_agent=True), "Non-contrast CT of the head.", False),
        (Stated("MR", "axial", "T1"), "Axial MRI of the head.", True),
        (Stated("MR", "axial", "T1"), "Axial T2-weighted MRI of the head.", False),
        (Stated("XR", "PA"), "Frontal X-ray of the chest.", True),
        (Stated("XR", "PA"), "AP X-ray of the chest.", False),
        (Stated("XR", "LATERAL"), "PA X-ray of the chest.", False),
        (Stated("MG", "MLO"), "Mammo - CC mammogram of the breast.", False),
        (Stated("ES"), "Axial CT of the abdomen.", False),
        (Stated(plane="coronal"), "Coronal CT of the abdomen.", True),
        (Stated(plane="coronal"), "Axial CT of the abdomen.", False),
        (Stated(), "Axial CT of the abdomen.", True),
    ],
)
def test_a_caption_agrees_with_its_file_or_not(stated: Stated, caption: str, agrees: bool) -> None:
    assert (disagreement(caption, stated) == "") is agrees


def test_a_begun_caption_contradicts_only_by_what_it_says() -> None:
    assert not contradicts("Axial", Stated("CT", "axial"))
    assert contradicts("Axial diffusion-weighted", Stated("CT", "axial"))


@pytest.mark.parametrize("code", CODES)
def test_what_is_composed_agrees_with_every_modality_and_plane(code: str) -> None:
    """Also with an organ, and however an MR was made."""
    made = list(itertools.product(("T1", "T2", "T2*", "PD", "FLAIR", "STIR", "DWI", "ADC"), (False, True)))
    for plane, organ in itertools.product(("", *PLANES, *PROJECTIONS), (None, "face, sinuses and neck")):
        for weighting, agent in made if code == "MR" else [("", False)]:
            stated = Stated(code, plane, weighting, agent)
            assert stated.families, f"nothing is known of {code}"
            text = composed_caption(stated, organ)
            assert disagreement(text, stated) == "", text
            assert text[0].isupper() and text.endswith(".") and "  " not in text


def test_what_a_volume_states_without_a_modality_is_composed_too() -> None:
    assert composed_caption(Stated(plane="sagittal"), "spine") == "Sagittal image of the spine."
    assert (
        composed_caption(Stated("MR", "axial", "T1", True), "head")
        == "Axial T1-weighted MRI with gadolinium of the head."
    )


def test_a_header_of_an_unknown_code_states_nothing() -> None:
    assert not stated_by(ImageMeta(({"modality": "OT", "modality_source": "header"},)))
