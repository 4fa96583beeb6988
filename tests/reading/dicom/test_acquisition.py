"""Projection, contrast agent and MR weighting as headers tell them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset

from scripts.reading import read_case
from scripts.reading.dicom.acquisition import acquisition_of


def header(**attributes: Any) -> Dataset:
    dataset = Dataset()
    for name, value in attributes.items():
        setattr(dataset, name, value)
    return dataset


def mr(sequence: str | list[str], repetition: float, echo: float, inversion: float | None = None) -> Dataset:
    times = {} if inversion is None else {"InversionTime": inversion}
    return header(Modality="MR", ScanningSequence=sequence, RepetitionTime=repetition, EchoTime=echo, **times)


def gradient_echo(repetition: float, echo: float, flip: float, **attributes: Any) -> Dataset:
    return header(
        Modality="MR", ScanningSequence="GR", RepetitionTime=repetition, EchoTime=echo, FlipAngle=flip,
        **{"SequenceVariant": "SP", **attributes},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("dataset", "weighting"),
    [
        (mr("SE", 500, 12), "T1"),
        (mr("SE", 4000, 100), "T2"),
        (mr("SE", 3000, 20), "PD"),
        (mr(["SE", "IR"], 9000, 120, 2500), "FLAIR"),
        (mr("SE", 9000, 120, 2200), "FLAIR"),  # some scanners name the inversion by its time alone
        (mr("IR", 5000, 40, 150), "STIR"),
        (header(Modality="MR", ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]), "ADC"),
        (header(Modality="MR", ImageType=["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE"]), "DWI"),
        (header(Modality="MR", AcquisitionContrast="FLUID_ATTENUATED"), "FLAIR"),
        (mr("SE", 1200, 12), None),  # between T1 and proton density
        (gradient_echo(5.5, 2.8, 10), "T1"),  # an abdomen in one breath
        (gradient_echo(150, 4, 70), "T1"),
        (gradient_echo(5.5, 2.8, 5), None),  # proton density
        (gradient_echo(700, 20, 25), None),  # T2*
        (gradient_echo(25, 4, 25, AngioFlag="Y"), None),
        (gradient_echo(4, 2, 25, ImageType=["DERIVED", "SECONDARY", "MIP"]), None),
        (gradient_echo(5.5, 2.8, 60, SequenceVariant="SS"), None),  # balanced
        (mr("GR", 30, 4), None),
        (mr(["EP", "SE"], 5000, 90), None),  # diffusion or perfusion as well as T2
        (mr(["GR", "IR"], 2000, 3, 900), None),
        (mr("SE", 0, 0), None),
        (header(Modality="MR", AcquisitionContrast="MIXED"), None),
        (header(Modality="CT", ScanningSequence="SE", RepetitionTime=500, EchoTime=10), None),
    ],
)
def test_weighting_is_said_where_the_times_leave_no_doubt(dataset: Dataset, weighting: str | None) -> None:
    assert acquisition_of(dataset).get("weighting") == weighting


@pytest.mark.parametrize(
    ("modality", "position", "projection"),
    [("DX", "PA", "PA"), ("CR", "ll", "LATERAL"), ("MG", "MLO", "MLO"), ("MG", "XCCL", "CC"), ("DX", "swimmer", None),
     ("CT", "PA", None)],
)  # fmt: skip
def test_projection(modality: str, position: str, projection: str | None) -> None:
    assert acquisition_of(header(Modality=modality, ViewPosition=position)).get("projection") == projection


@pytest.mark.parametrize(("agent", "given"), [("ISOVUE300/100", True), ("", None), ("NONE", None)])
def test_a_named_contrast_agent_was_given(agent: str, given: bool | None) -> None:
    assert acquisition_of(header(Modality="CT", ContrastBolusAgent=agent)).get("contrast_agent") is given


def test_the_agent_s_name_stays_in_the_reader() -> None:
    """It is free text."""
    assert acquisition_of(header(Modality="MR", ContrastBolusAgent="for Mrs Smith")) == {"contrast_agent": True}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("MR_small.dcm", {"weighting": "T2"}),  # SE, repetition 4,000 ms, echo 240 ms
        ("MR2_J2KR.dcm", {"weighting": "T1"}),  # SE, 350 and 27 ms
        ("RG1_J2KI.dcm", {"projection": "PA"}),
        ("CT_small.dcm", {"contrast_agent": True}),
        ("693_J2KI.dcm", {}),
    ],
)
def test_real_headers(shared_data: Path, name: str, expected: dict[str, Any]) -> None:
    assert read_case(shared_data / "formats" / "dicom" / name).meta["acquisition"] == expected
