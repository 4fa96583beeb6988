"""Captions do not contradict what a file itself states."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from scripts.commands.samples import write_samples
from scripts.concepts.fields import read_fields
from scripts.concepts.guide import ConceptGuide
from scripts.concepts.header import EXCLUDED, HeaderAnswers, header_answers, only_agreeing
from scripts.concepts.stated import Stated, stated_by
from scripts.concepts.vocabulary import ConceptVocabulary
from scripts.predictor import CaptionPredictor
from scripts.reading.image_meta import ImageMeta

VOCABULARY = ConceptVocabulary.from_captions(
    [
        "Axial CT of the head showing a bleed.",
        "Sagittal T2-weighted MRI of the spine showing a cyst.",
        "Transverse MRI of the abdomen showing a cyst.",
        "PA plain-film X-ray of the chest showing a cyst.",
    ],
    max_share=0.9,
)


def answers(meta: dict, vocabulary: ConceptVocabulary) -> HeaderAnswers:
    """Of a case as its record tells it."""
    return header_answers(stated_by(ImageMeta.of_record(meta)), vocabulary)


MR = {"modality": "MR", "modality_source": "header", "orientation": {"plane": "axial"}}


def test_a_header_leaves_its_family_and_its_plane() -> None:
    assert answers(MR, VOCABULARY) == {
        "modality": ["mri", "t2-weighted mri"],
        "plane": ["axial", "transverse"],
    }
    film = {"modality": "XR", "modality_source": "header", "orientation": None}
    assert answers(film, VOCABULARY) == {"modality": ["plain-film x-ray"]}


@pytest.mark.parametrize(
    ("modality", "made", "expected"),
    [
        ("MR", {"weighting": "T2"}, ["t2-weighted mri"]),
        ("MR", {"weighting": "FLAIR"}, ["mri"]),
        ("MR", {"contrast_agent": True}, ["mri", "t2-weighted mri"]),
        ("CT", {"contrast_agent": True}, ["ct"]),
        ("CT", {}, ["ct", "non-contrast ct"]),
    ],
)
def test_how_an_image_was_made_is_not_contradicted(modality: str, made: dict, expected: list[str]) -> None:
    vocabulary = ConceptVocabulary.from_captions(
        [
            "Axial CT of the head showing a bleed.",
            "Axial non-contrast CT of the head showing a cyst.",
            "Axial T2-weighted MRI of the head showing a cyst.",
            "Axial MRI of the spine showing a cyst.",
        ],
        max_share=0.9,
    )
    meta = {"modality": modality, "modality_source": "header", "acquisition": made}
    assert answers(meta, vocabulary)["modality"] == expected


def test_a_film_s_projection_is_its_plane() -> None:
    film = {"modality": "XR", "modality_source": "header", "acquisition": {"projection": "PA"}}
    assert answers(film, VOCABULARY)["plane"] == ["pa"]
    views = [film, {**film, "acquisition": {"projection": "LATERAL"}}]  # two views of one chest
    assert "plane" not in answers({**film, "views": views}, VOCABULARY)


@pytest.mark.parametrize(
    "meta",
    [
        {"reader": "array"},
        {"modality": "", "modality_source": "", "orientation": None},  # a picture
        {**MR, "modality_source": "given", "orientation": None},  # a user's or a datalist's word
        {**MR, "modality": "US", "orientation": {"plane": "oblique"}},  # nothing in the vocabulary agrees
        {**MR, "views": [MR, {**MR, "modality": "CT", "orientation": {"plane": "sagittal"}}]},
    ],
)
def test_what_no_header_says_stays_open(meta: dict) -> None:
    assert answers(meta, VOCABULARY) == {}


def test_views_that_agree_are_one_header() -> None:
    other = {**MR, "orientation": {"plane": "sagittal"}}
    assert list(answers({**MR, "views": [MR, other]}, VOCABULARY)) == ["modality"]


@pytest.mark.parametrize("modality", ["MG", "XR", "XA", "US"])
def test_films_and_probes_have_axes_but_no_plane(modality: str) -> None:
    """A tomosynthesis has positions like a CT; its slices are no coronal or sagittal images."""
    assert "plane" not in answers({**MR, "modality": modality}, VOCABULARY)
    assert "plane" not in answers({**MR, "modality": "", "kind": "dicom"}, VOCABULARY)
    assert "plane" in answers({**MR, "modality": "", "kind": "volume"}, VOCABULARY)


def test_a_plane_is_stated_only_near_an_axis_that_the_file_gives() -> None:
    def planes(**lies: object) -> list[str]:
        meta = {**MR, "orientation": {"plane": "sagittal", **lies}}
        return answers(meta, VOCABULARY).get("plane", [])

    assert planes(off_axis_degrees=20.0, known=True) == ["sagittal"]
    assert planes(off_axis_degrees=51.7, known=True) == planes(off_axis_degrees=2.0, known=False) == []


def test_agreeing_answers_share_the_probability() -> None:
    names = VOCABULARY.fields["modality"]  # ct, mri, plain-film x-ray, t2-weighted mri
    read = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.7, 0.1, 0.1, 0.1]], dtype=torch.float64).log()
    fields = only_agreeing({"modality": read}, VOCABULARY, [Stated("MR"), Stated()])
    found = dict(zip(names, fields["modality"][0].tolist(), strict=True))
    half = torch.tensor(0.5).log().item()
    assert found == pytest.approx(
        {"ct": EXCLUDED, "mri": half, "plain-film x-ray": EXCLUDED, "t2-weighted mri": half}, rel=1e-6
    )
    torch.testing.assert_close(fields["modality"][1], read[1])  # nothing known: as read


def test_beams_that_contradict_a_header_lose() -> None:
    """A reader that is all but sure of CT, and a file that says MR."""
    concepts = torch.zeros(1, len(VOCABULARY))
    sizes = {field: len(names) for field, names in VOCABULARY.fields.items()}
    fields = {field: torch.zeros(1, size).log_softmax(1) for field, size in sizes.items()}
    fields["modality"] = torch.tensor([[9.0, 0.0, 0.0, 0.0]]).log_softmax(1)

    def best(known: list) -> str:
        read = only_agreeing(fields, VOCABULARY, known) if known else fields
        guide = ConceptGuide(VOCABULARY, concepts, read, decode=list, starts=[""], known=known)
        captions = ["Axial CT of the head showing", "Axial MRI of the head showing"]
        return max(captions, key=lambda text: guide.judge(0, text, False))

    assert "CT" in best([])
    assert "MRI" in best([stated_by(ImageMeta.of_record(MR))])


def test_the_shipped_captioner_believes_headers(starter: Callable[..., CaptionPredictor], tmp_path: Path) -> None:
    """One and several at a time; the record says that it was asked to."""
    predictor = starter(max_new_tokens=12)
    ct, mr, *_ = write_samples(tmp_path)
    captions = [predictor.caption(mr), *predictor.caption_all([ct, mr])]
    assert [read_fields(caption.text).family for caption in captions] == ["MR", "CT", "MR"]
    assert [read_fields(caption.text).plane in ("axial", "transverse") for caption in captions] == [True] * 3
    assert captions[0].record["trace"]["settings"]["use_header"] is True
    assert captions[0].text == captions[2].text
