"""Captions in several templates: they say the same, are the same each time, and can be told from each other's mould."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from read_back import as_read

from scripts.concepts.fields import read_fields
from scripts.concepts.wording import composed_caption, full_organ, in_mould, mould_parts, reworded_caption

PLANES = ("axial", "AP", "lateral", "Mammo - MLO", "3D reconstruction", None)
MODALITIES = ("CT with IV contrast", "T2*-weighted gradient-echo MRI", "plain-film X-ray", "ultrasound", None)
ORGANS = ("head (skull and contents)", "face, sinuses and neck", "fetal head", "chest and abdomen", "whole body", None)
FINDINGS = ("left frontal lobe mass, axial extent unknown", "no abnormality", "abnormal appearance", "ct of 1999", None)


@pytest.mark.parametrize("organ", ORGANS)
def test_the_fields_of_a_composed_caption_are_read_back(organ: str | None) -> None:
    texts = set()
    for plane, modality, finding, number in itertools.product(PLANES, MODALITIES, FINDINGS, range(12)):
        fields = {"plane": plane, "modality": modality, "organ": organ, "abnormality": finding}
        if any(fields.values()):
            texts.add(text := composed_caption(fields, f"{number}.png"))
            assert read_fields(text) == as_read(fields), text
            assert text.endswith(".") and text[0].upper() == text[0] and "  " not in text
    assert len(texts) > len(PLANES) * len(MODALITIES) * len(FINDINGS) or organ is None


def test_a_template_is_drawn_by_the_name_and_without_one_it_is_the_mould() -> None:
    fields = {"plane": "axial", "modality": "CT", "organ": "chest", "abnormality": "a nodule"}
    assert composed_caption(fields) == "Axial CT of the chest showing a nodule."
    drawn = [composed_caption(fields, f"{number}.png") for number in range(60)]
    assert drawn == [composed_caption(fields, f"{number}.png") for number in range(60)]
    assert len(set(drawn)) > 10
    assert {in_mould(text) for text in drawn} == {composed_caption(fields)}


@pytest.mark.parametrize(
    ("caption", "parts"),
    [
        (
            "Lateral plain-film X-ray of the breast showing a mass.",
            {"plane": "Lateral", "modality": "plain-film X-ray", "organ": "breast", "abnormality": "a mass"},
        ),
        ("CT of the head.", {"modality": "CT", "organ": "head"}),
        ("CT scan of the head showing a mass.", {}),  # more words than the mould has
        ("PA X-ray of the chest. No pneumothorax.", {}),
        ("Large mass on CT angiography.", {}),
    ],
)
def test_only_captions_of_the_mould_are_taken_apart(caption: str, parts: dict[str, str]) -> None:
    assert mould_parts(caption) == parts
    assert parts or reworded_caption(caption, "a.png") == caption


def test_captions_that_people_wrote_stay_as_they_are() -> None:
    for caption in (
        "Chest X-ray showing an endotracheal tube, an orogastric tube.",
        "Axial contrast-enhanced images demonstrated thickening of the bowel wall.",
        "Oblique thinking, no image.",
        "",
    ):
        assert in_mould(caption) == caption


def test_an_organ_s_name_goes_before_what_it_takes_in() -> None:
    assert full_organ("skull and contents") == "head (skull and contents)"
    assert full_organ("spine and contents") == "spine and contents"
    assert full_organ("left thumb nail") == "left thumb nail"


def test_every_caption_of_a_real_set_says_the_same_in_other_words(shared_data: Path) -> None:
    content = json.loads((shared_data / "medcap-open" / "datalist.json").read_text())
    entries = content["training"] + content["validation"]
    texts = [reworded_caption(entry["caption"], entry["image"]) for entry in entries]
    for text, entry in zip(texts, entries, strict=True):
        assert read_fields(text) == read_fields(entry["caption"]), text
        assert in_mould(text).lower() == entry["caption"].lower(), text
    changed = sum(text != entry["caption"] for text, entry in zip(texts, entries, strict=True))
    assert changed > 0.8 * len(entries)
