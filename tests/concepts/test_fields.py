"""Fields are read off reference captions exactly, off free text robustly, and published baselines come out."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from scripts.concepts.fields import (
    FIELDS,
    NO_ABNORMALITY,
    UNSPECIFIED_ABNORMALITY,
    field_agreement,
    read_fields,
    true_fields,
    word_overlap,
)
from scripts.metrics.baselines import commonest_caption


@pytest.fixture(scope="module")
def datalist(shared_data: Path) -> dict:
    return json.loads((shared_data / "medcap-open" / "datalist.json").read_text())


def test_every_reference_caption_gives_back_its_fields(datalist: dict) -> None:
    wrong: Counter[str] = Counter()
    for item in datalist["training"] + datalist["validation"]:
        read, known = read_fields(item["caption"]), true_fields("", item["fields"])
        assert read.family is not None
        for name in FIELDS:
            answer = item["fields"].get(name)
            if name == "abnormality" and answer in ("yes", "no"):
                wrong[name] += read.abnormality not in (NO_ABNORMALITY, UNSPECIFIED_ABNORMALITY)
            elif name != "abnormality" or answer is not None:
                wrong[name] += getattr(read, name) != getattr(known, name)
    assert sum(wrong.values()) == 0, wrong


def test_commonest_caption_reproduces_the_published_accuracy(datalist: dict) -> None:
    validation = datalist["validation"]
    caption = commonest_caption([item["caption"] for item in datalist["training"]])
    agreement = field_agreement(
        [caption] * len(validation), [item["caption"] for item in validation], [item["fields"] for item in validation]
    )
    assert [round(float(agreement[name].mean()), 3) for name in ("plane", "modality", "organ")] == [0.425, 0.122, 0.388]


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("Axial CT with GI and IV contrast of the abdomen (gastrointestinal) showing ileus.",
         ("axial", "ct with gi and iv contrast", "abdomen", "ileus")),
        ("axial flair mri of the head ( skull and contents ) showing pineoblastoma",
         ("axial", "flair mri", "head", "pineoblastoma")),
        ("T2-weighted MRI of the spine in the sagittal plane.", ("sagittal", "t2-weighted mri", "spine", None)),
        ("PA chest radiograph showing a right-sided pneumothorax",
         ("pa", "x-ray", "chest", "a right-sided pneumothorax")),
        ("Lateral plain-film X-ray of the breast with no abnormality.",
         ("lateral", "plain-film x-ray", "breast", NO_ABNORMALITY)),
        ("MRI of the face, sinuses and neck with an abnormal appearance.",
         (None, "mri", "face, sinuses and neck", UNSPECIFIED_ABNORMALITY)),
        ("CT of the head. No acute blood present on this head ct.", (None, "ct", "head", None)),
        ("Axial Axial Axial", ("axial", None, None, None)),
        ("", (None, None, None, None)),
    ],
)  # fmt: skip
def test_reads_free_text(caption: str, expected: tuple) -> None:
    read = read_fields(caption)
    assert (read.plane, read.modality, read.organ, read.abnormality) == expected


def test_the_finding_never_answers_for_the_view() -> None:
    read = read_fields("Coronal MRI of the spine showing a lesion better seen on axial CT of the chest.")
    assert (read.plane, read.modality, read.organ) == ("coronal", "mri", "spine")


def test_unstated_plane_counts_and_unstated_abnormality_does_not() -> None:
    references = ["X-ray of the chest. No pneumothorax.", "Axial CT of the head showing abscess."]
    agreement = field_agreement(["PA X-ray of the chest showing edema.", references[1]], references)
    assert agreement["plane"].tolist() == [0, 1]
    assert np.isnan(agreement["abnormality"][0]) and agreement["abnormality"][1] == 1
    assert field_agreement([references[0]], [references[0]])["plane"].tolist() == [1]


def test_known_fields_win_over_the_reference_text() -> None:
    truth = true_fields("Axial CT of the head showing abscess.", {"plane": "coronal", "organ": None})
    assert (truth.plane, truth.organ) == ("coronal", "head")


@pytest.mark.parametrize(
    ("caption", "fields"),
    [
        ("Transaxial CT scan of the head.", {"plane": "Transaxial", "modality": "CT scan", "organ": "Head"}),
        ("PA radiograph of the chest.", {"plane": "PA view", "modality": "Radiograph", "organ": "thorax"}),
        ("Sagittal T2 MRI of the spine.", {"plane": "Sagittal", "modality": "T2 weighted MRI", "organ": "spine"}),
    ],
)
def test_stored_spellings_agree_with_the_same_words_in_a_caption(caption: str, fields: dict[str, str]) -> None:
    agreement = field_agreement([caption], [""], [fields])
    assert all(agreement[name][0] == 1 for name in ("plane", "modality", "modality family", "organ"))
    assert true_fields("", fields).family is not None


def test_an_unknown_stored_value_is_kept_and_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    fields = {"plane": "Axial", "modality": "Elastogram 7"}
    assert [true_fields("", fields).modality for _ in range(3)] == ["elastogram 7"] * 3
    assert caplog.text.count("elastogram 7") == 1 and "axial" not in caplog.text


def test_word_overlap_is_f1_of_words() -> None:
    assert word_overlap("brain abscess", "cerebral abscess") == pytest.approx(0.5)
    assert word_overlap(None, "abscess") == 0.0
