"""What an item does not know is not learned: neither that a finding is there, nor that it is not."""

from __future__ import annotations

import pytest
import torch

from scripts.concepts.fields import FIELDS, known_fields
from scripts.concepts.tagger import CaptionConceptsd, ConceptNetwork
from scripts.concepts.vocabulary import UNKNOWN, ConceptVocabulary
from scripts.encoders.efficientnet import EfficientNetEncoder

KNOWN = [
    "Axial T2-weighted MRI of the head (skull and contents) showing a cyst.",
    "Axial CT of the head (skull and contents) showing a bleed.",
    "Sagittal T2-weighted MRI of the spine showing a cyst.",
    "AP X-ray of the chest with no abnormality.",
    "Axial CT of the spine showing a cyst.",
]
OPEN = "Axial T2-weighted MRI of the spine."
NULL = {"plane": "axial", "modality": "T2-weighted MRI", "organ": "spine", "abnormality": None}


@pytest.fixture
def vocabulary() -> ConceptVocabulary:
    captions = [*KNOWN, OPEN]
    return ConceptVocabulary.from_captions(
        captions, [None] * len(KNOWN) + [NULL], min_count=1, max_share=0.9, longest=2
    )


def by_name(vocabulary: ConceptVocabulary, targets: torch.Tensor) -> dict[str, float]:
    return dict(zip(vocabulary.names, targets.tolist(), strict=True))


def test_phrases_speak_of_fields(vocabulary: ConceptVocabulary) -> None:
    about = {
        name: {FIELDS[column] for column in row.nonzero().flatten().tolist()}
        for name, row in zip(vocabulary.names, vocabulary.about, strict=True)
    }
    assert about["axial"] == {"plane"}
    assert about["mri"] == about["ct"] == {"modality"}
    assert about["spine"] == {"organ"}
    assert about["cyst"] == about["bleed"] == about["abnormality"] == {"abnormality"}
    assert about["and"] == {"organ"}  # of "skull and contents"


def test_a_finding_that_is_not_known_is_neither_absent_nor_no_abnormality(vocabulary: ConceptVocabulary) -> None:
    for fields in (NULL, None, {}):
        targets = by_name(vocabulary, vocabulary.known_targets(OPEN, fields))
        assert targets["cyst"] == targets["bleed"] == targets["abnormality"] == UNKNOWN
        assert targets["axial"] == targets["spine"] == 1
        assert targets["ct"] == targets["and"] == targets["sagittal"] == 0
    assert by_name(vocabulary, vocabulary.known_targets(KNOWN[0]))["bleed"] == 0  # a known finding rules others out


def test_a_field_that_is_null_is_not_learned_though_the_caption_names_it(vocabulary: ConceptVocabulary) -> None:
    unsure = {"plane": None, "modality": "CT", "organ": None}
    item = CaptionConceptsd("caption", vocabulary=vocabulary)({"caption": KNOWN[1], "fields": unsure})
    assert item["field_targets"].tolist() == [UNKNOWN, vocabulary.fields["modality"].index("ct"), UNKNOWN]
    assert by_name(vocabulary, item["concepts"])["sagittal"] == UNKNOWN


def test_stated_fields_are_learned_though_the_caption_is_silent(vocabulary: ConceptVocabulary) -> None:
    targets = vocabulary.field_targets("A cyst.", {"plane": "sagittal", "organ": "spine and contents"})
    assert targets.tolist() == [vocabulary.fields["plane"].index("sagittal"), UNKNOWN,
                                vocabulary.fields["organ"].index("spine")]  # fmt: skip


def test_what_a_caption_denies_is_not_learned_as_seen(vocabulary: ConceptVocabulary) -> None:
    caption = "Axial CT of the head. No bleed is seen. There is a cyst."
    targets = by_name(vocabulary, vocabulary.known_targets(caption, {**NULL, "organ": "head"}))
    assert targets["cyst"] == 1
    assert targets["bleed"] == UNKNOWN


def test_an_abnormality_without_a_name_rules_no_finding_out() -> None:
    assert known_fields("CT of the head with an abnormal appearance.").abnormality is None
    assert known_fields("CT of the head with no abnormality.").abnormality == "no abnormality"


def test_shares_count_the_captions_that_could_hold_a_phrase() -> None:
    captions = [*KNOWN[:2]] * 10 + [OPEN] * 30
    vocabulary = ConceptVocabulary.from_captions(captions, max_share=0.9, longest=1)
    assert vocabulary.shares[vocabulary.names.index("cyst")] == pytest.approx(0.5)
    assert vocabulary.shares[vocabulary.names.index("spine")] == pytest.approx(0.6)


def test_wording_is_no_concept() -> None:
    varied = [
        "MRI of the spine in the axial plane.",
        "Spine, axial MRI.",
        "Head, axial CT.",
        "The spine on coronal CT.",
    ]
    vocabulary = ConceptVocabulary.from_captions(varied * 20, longest=3)
    assert {"axial", "mri", "spine", "head", "coronal"} <= set(vocabulary.names)
    words = {word for name in vocabulary.names for word in name.split()}
    assert words <= {"axial", "coronal", "mri", "ct", "of", "the", "spine", "head"}
    assert torch.equal(vocabulary.targets(varied[0]), vocabulary.targets(varied[1]))


def test_no_gradient_reaches_what_is_not_known(vocabulary: ConceptVocabulary) -> None:
    network = ConceptNetwork(
        encoder=EfficientNetEncoder(weights=None, input_size=32, trainable_blocks="all"), vocabulary=vocabulary
    )
    targets = vocabulary.known_targets(OPEN, {**NULL, "plane": None})
    fields = vocabulary.field_targets(OPEN, {**NULL, "plane": None})
    network(torch.rand(2, 3, 32, 32), torch.stack([targets] * 2), torch.stack([fields] * 2))["loss"].backward()
    unknown = targets == UNKNOWN
    assert unknown.any()
    assert network.concepts.weight.grad[unknown].abs().max() == 0
    assert network.concepts.weight.grad[~unknown].abs().amax(dim=1).min() > 0
    assert network.fields["plane"].weight.grad.abs().max() == 0
    assert network.fields["organ"].weight.grad.abs().max() > 0
