"""Entries that know some fields only: what they know is said, what they do not know is null and is not said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from read_back import as_read

from scripts.concepts.described import COHORT, Describer, described, patient_findings
from scripts.concepts.fields import read_fields


def entry(caption: str = "", source: str = "set", qa: Any = None, **fields: str | None) -> dict[str, Any]:
    made: dict[str, Any] = {"image": "a.png", "fields": fields, "source": source}
    return made | ({"caption": caption} if caption else {}) | ({"qa": qa} if qa else {})


def test_fields_get_their_names_and_null_where_they_are_not_known() -> None:
    known = described(entry(modality="ultrasound", organ="fetal head", finding=None), "a.png", varied=False)
    assert known["caption"] == "Ultrasound of the fetal head."
    assert known["fields"] == {"plane": None, "modality": "ultrasound", "organ": "fetal head", "abnormality": None}


def test_what_is_no_modality_is_not_known() -> None:
    known = described(entry(body="ABD", modality="Oral and IV", plane="axial"), "a.png")
    assert known["caption"] == "Axial image of the abdomen."
    assert known["fields"]["modality"] is None


def test_a_caption_that_someone_wrote_stays() -> None:
    written = entry("Chest X-ray showing an endotracheal tube.")
    assert described(written, "a.png") == written
    with_fields = described(entry("Cranial CT before radiotherapy.", modality="CT"), "a.png")
    assert with_fields["caption"] == "Cranial CT before radiotherapy."
    assert with_fields["fields"]["modality"] == "CT"


def test_an_organ_alone_makes_no_caption() -> None:
    assert described(entry(body="HEAD"), "a.png") is None
    asked = [["Is there a skull fracture?", "No", "PRES"]]
    told = described(entry(body="HEAD", qa=asked), "a.png")
    assert told["caption"] == "Image of the head. No skull fracture is seen."
    composed = described(entry("CT of the head.", qa=asked, modality="CT", organ="head"), "a.png", varied=False)
    assert composed["caption"] == "CT of the head. No skull fracture is seen."


def test_sentences_that_would_be_read_as_fields_are_left_out() -> None:
    asked = [
        {"question": "Where is the mass?", "answer": "left frontal lobe", "topic": "POS"},
        {"question": "Is there mass effect?", "answer": "yes", "topic": "PRES"},
    ]
    told = described(entry(organ="head", modality="MRI", qa=asked), "a.png")
    assert told["caption"] == "MRI of the head. There is mass effect."  # "frontal" would be read as its plane


def test_findings_of_patients_are_neither_said_nor_learned() -> None:
    of_all = [
        entry("Axial MRI of the head showing sclerosis.", "ms", modality="MRI", plane="axial", organ="head",
              finding="sclerosis")
    ] * COHORT  # fmt: skip
    marked = entry(source="cxr", modality="X-ray", organ="chest", finding="COVID-19 (patient)")
    others = [entry(source="mixed", modality="CT", organ="chest", finding=name) for name in ("a nodule", "a cyst")] * 30
    few = [entry(source="few", modality="CT", organ="head", finding="a bleed")] * (COHORT - 1)
    normal = [entry(source="normal", modality="CT", organ="head", finding="no abnormality")] * COHORT
    entries = [*of_all, marked, *others, *few, *normal]
    assert patient_findings(entries) == {("ms", "sclerosis"): COHORT, ("cxr", "COVID-19 (patient)"): 1}
    describer = Describer("mould")
    made = describer(entries, held_out=False)
    captions = [made(one, "a.png")["caption"] for one in (of_all[0], marked, others[0], few[0], normal[0])]
    assert captions == [
        "Axial MRI of the head.",
        "X-ray of the chest.",
        "CT of the chest showing a nodule.",
        "CT of the head showing a bleed.",
        "CT of the head with no abnormality.",
    ]
    assert made(of_all[0], "a.png")["fields"]["abnormality"] is None
    assert len(describer.notes) == 2 and "sclerosis" in describer.notes[0]
    kept = Describer("mould", keep_patient_findings=True)(entries, held_out=False)
    assert kept(of_all[0], "a.png")["caption"] == "Axial MRI of the head showing sclerosis."


def test_folders_that_hold_out_images_keep_their_captions_unless_all_are_to_vary() -> None:
    own = entry("Axial CT of the head showing a bleed.", modality="CT", organ="head", plane="axial")
    names = [f"{number}.png" for number in range(20)]
    assert {Describer()([own], True)(own, name)["caption"] for name in names} == {own["caption"]}
    assert len({Describer("all")([own], True)(own, name)["caption"] for name in names}) > 5
    assert len({Describer()([own], False)(own, name)["caption"] for name in names}) > 5
    assert {Describer("mould")([own], False)(own, name)["caption"] for name in names} == {own["caption"]}


def test_every_entry_of_a_real_set_is_read_back(shared_data: Path) -> None:
    file = shared_data / "open-extra" / "datalist.json"
    if not file.is_file():
        pytest.skip(f"{file} is not on this machine")
    entries = json.loads(file.read_text())["training"]
    found = patient_findings(entries)
    assert {source for source, _ in found} == {"open_ms", "hannover"}
    made = [described(one, one["image"], of_patients=found) for one in entries]
    composed = [one for one in made if one and any(one["fields"].values())]
    for one in composed:
        assert read_fields(one["caption"]) == as_read(one["fields"]), one["caption"]
    assert len(composed) > 1850
    assert sum(one is None for one in made) < 30
    assert not any("sclerosis" in one["caption"] or "COVID" in one["caption"] for one in composed)
