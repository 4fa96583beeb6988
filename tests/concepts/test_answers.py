"""Answers as sentences: what is said is what was answered, and what cannot be said truly is not said."""

from __future__ import annotations

import pytest

from scripts.concepts.answers import answered, in_words, modality_of


@pytest.mark.parametrize(
    ("question", "answer", "sentence"),
    [
        ("Is there a right-sided pleural effusion?", "Yes", "There is a right-sided pleural effusion."),
        ("Is there a pneumothorax present?", "no", "No pneumothorax is seen."),
        ("Are there rib fractures present in this image?", "No", "No rib fractures are seen."),
        ("Is there evidence of small bowel obstruction on this image?", "Yes", "There is small bowel obstruction."),
        ("Is there bowel gas?", "yes", "There is bowel gas."),
        ("Do you see a pleural effusion?", "No", "No pleural effusion is seen."),
        ("Does this image show a pneumothorax?", "yes", "There is a pneumothorax."),
        ("Is the heart enlarged?", "no", "The heart is not enlarged."),
        ("Are the clavicles fractured?", "Yes", "The clavicles are fractured."),
        ("Is the aorta visualized?", "yes", "The aorta is visualized."),
        ("Where is the mass located?", "suprasellar", "Location of the mass: suprasellar."),
        ("What is the location of the lesion?", "the liver.", "Location of the lesion: liver."),
    ],
)
def test_an_answer_makes_a_sentence(question: str, answer: str, sentence: str) -> None:
    assert answered([(question, answer, "PRES")])[1] == [sentence]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Is this an MRI or a CT?", "yes"),
        ("Is there contrast in the vasculature?", "No"),
        ("Is the left lung more collapsed than the right?", "yes"),
        ("Is the size of this lesion larger than 3 cm?", "yes"),
        ("Where is the mass located?", "no"),
        ("What is the hyperdensity in the image?", "Infarct"),
        ("How many ribs are seen?", "12"),
        ("", "yes"),
        ("Is there a nodule?", "possibly"),
    ],
)
def test_what_no_rule_is_sure_of_is_not_said(question: str, answer: str) -> None:
    assert answered([(question, answer, "")])[1] == []


def test_fields_are_those_that_answers_state() -> None:
    def fields(*asked: tuple[str, str, str]) -> dict[str, str]:
        return answered(asked)[0]

    assert fields(("In what plane was this image taken?", "Axial plane", "PLANE")) == {"plane": "axial"}
    assert fields(("Is this a PA film?", "yes", "PLANE")) == {"plane": "PA"}
    assert fields(("Is this a PA film?", "no", "PLANE")) == {}
    assert fields(("Is this an AP or PA film?", "yes", "PLANE")) == {}
    assert fields(("Is this an MRI?", "no", "MODALITY")) == {}
    assert fields(("Is this an MRI?", "yes", "MODALITY")) == {"modality": "MRI"}
    assert fields(("What imaging modality was used?", "MR - Flair", "MODALITY")) == {"modality": "FLAIR MRI"}
    assert fields(("Did the patient receive contrast?", "Yes", "MODALITY")) == {}
    assert fields(("In what plane is this CT?", "unclear", "")) == {"modality": "CT"}
    assert fields(("Is this a normal image?", "No", "ABN")) == {"abnormality": "abnormal appearance"}
    assert fields(("Is this image normal?", "yes", "ABN")) == {"abnormality": "no abnormality"}
    assert fields(("Are there abnormal findings?", "no", "ABN")) == {"abnormality": "no abnormality"}
    assert fields(("Are the lungs normal?", "yes", "ABN")) == {}
    assert fields(("What is the pathology?", "Hydropneumothorax", "ABN")) == {"abnormality": "hydropneumothorax"}
    assert fields(("Which lung is abnormal?", "Right lung", "ABN")) == {}


def test_what_was_asked_twice_is_said_once() -> None:
    asked = [
        ("Is there a skull fracture?", "no", "PRES"),
        ("Is a skull fracture present?", "no", "PRES"),
        ("Is the trachea midline?", "yes", "PRES"),
    ]
    assert answered(asked)[1] == ["No skull fracture is seen.", "The trachea is midline."]


def test_modalities_in_the_words_of_captions() -> None:
    assert modality_of("contrast") is None
    assert modality_of("chest xray") == "X-ray"
    assert modality_of("DWI Diffusion weighted") == "diffusion-weighted MRI"
    assert in_words("t2*-weighted gradient-echo mri") == "T2*-weighted gradient-echo MRI"
    assert in_words("pet-ct fusion image") == "PET-CT fusion image"
    assert in_words("plain-film x-ray") == "plain-film X-ray"
