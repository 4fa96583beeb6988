"""What the words of a caption say in the reader's terms."""

from __future__ import annotations

import pytest
import torch

from scripts.concepts.fields import places_of, read_fields
from scripts.concepts.said import Said, said_by
from scripts.concepts.vocabulary import ConceptVocabulary
from scripts.explanation.words import content_words

NAMES = ["acute", "acute appendicitis", "cell carcinoma", "head", "meningioma", "mri"]
FIELDS = {
    "plane": ["axial", "frontal"],
    "modality": ["ct with iv contrast", "mri", "t2-weighted mri"],
    "organ": ["chest", "head"],
}
VOCABULARY = ConceptVocabulary(NAMES, shares=torch.full((len(NAMES),), 0.1), fields=FIELDS, longest=2)


def told(caption: str) -> dict[str, str]:
    """Word -> the name of what it says, by the words that say something."""
    words = caption.split()
    content = content_words(words)
    said = said_by(words, VOCABULARY, [place for place in range(len(words)) if place not in content])
    names = {"phrase": NAMES} | FIELDS
    return {word: names[one.field][one.number] for word, one in zip(words, said, strict=True) if one is not None}


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("Axial T2-weighted MRI of the head (skull and contents) showing a meningioma.", {
            "Axial": "axial", "T2-weighted": "t2-weighted mri", "MRI": "t2-weighted mri", "head": "head",
            "(skull": "head", "contents)": "head", "meningioma.": "meningioma"}),
        ("CT with IV contrast of the chest showing acute appendicitis", {
            "CT": "ct with iv contrast", "IV": "ct with iv contrast", "contrast": "ct with iv contrast",
            "chest": "chest", "acute": "acute", "appendicitis": "acute appendicitis"}),
        ("Frontal T2 MRI of the brain showing giant cell tumor of the head", {  # other spellings of what is known
            "Frontal": "frontal", "T2": "t2-weighted mri", "MRI": "t2-weighted mri", "brain": "head", "head": "head"}),
        ("Sagittal MRI of the spine showing an osteoma", {"MRI": "mri"}),  # neither plane, organ nor finding is known
        ("", {}),
    ],
)  # fmt: skip
def test_words_say_values_and_phrases(caption: str, expected: dict[str, str]) -> None:
    assert told(caption) == expected


def test_a_phrase_neither_begins_nor_ends_with_a_field_or_with_nothing() -> None:
    """ "cell carcinoma" is a phrase, but its second word is not in this caption; "of" is no part of a shorter one."""
    vocabulary = ConceptVocabulary(
        ["chest showing", "of bone", "showing cyst"], shares=torch.full((3,), 0.1), fields=FIELDS, longest=2
    )
    words = ["MRI", "of", "the", "chest", "showing", "cyst", "of", "bone"]
    nothing = [place for place in range(len(words)) if place not in content_words(words)]
    assert said_by(words, vocabulary, nothing) == [
        Said("modality", 1), None, None, Said("organ", 0), None, None, None, None
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("field", "caption", "spelled"),
    [
        ("organ", "Chest X-ray of the chest (mediastinum, pleura) showing a chest tube",
         ["chest", "chest (mediastinum, pleura)"]),
        ("modality", "Axial CT angiography of the head showing a CT artefact", ["ct angiography"]),
        ("plane", "MRI in the sagittal plane. The spine shows sagittal imbalance", ["sagittal"]),
    ],
)  # fmt: skip
def test_places_are_those_of_the_value_that_is_read(field: str, caption: str, spelled: list[str]) -> None:
    value = getattr(read_fields(caption), field)
    assert [caption.lower()[start:end] for start, end in places_of(field, value, caption)] == spelled
