"""A run leaves no report of an earlier one beside its own, and touches nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from pydicom.data import get_testdata_file

from scripts.atomic import write_text_atomically
from scripts.errors import InputError
from scripts.outputs.captioned_case import CaptionedCase
from scripts.outputs.delivery import Delivery
from scripts.outputs.manifest import FOLDER, Manifest

CT = get_testdata_file("CT_small.dcm", download=False)
OUTPUTS = ("dicom_sr", "fhir", "html", "jsonl")


def case_of(caption: str) -> CaptionedCase:
    record = {"image": CT, "caption": caption, "error": None, "confidence": 0.5, "weights": {"model": "ab"},
              "trace": {"input": {}}}  # fmt: skip
    return CaptionedCase(CT, record, torch.rand(1, 3, 32, 32), ())


def run(folder: Path, *captions: str, outputs: tuple[str, ...] = OUTPUTS, killed: bool = False) -> None:
    delivery = Delivery(folder, outputs=outputs)
    for caption in captions:
        delivery.deliver(case_of(caption))
    if not killed:
        delivery.finish()


def files(folder: Path) -> set[str]:
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in found if path.parts[0] != FOLDER}


def test_another_run_replaces_all_reports_of_the_first(tmp_path: Path) -> None:
    run(tmp_path / "fresh", "Axial CT of the head.")
    run(tmp_path / "again", "Axial CT of the chest.", "Axial CT of the chest, again.")
    first = files(tmp_path / "again")
    run(tmp_path / "again", "Axial CT of the head.")
    assert files(tmp_path / "again") == files(tmp_path / "fresh")
    assert len(first) > len(files(tmp_path / "fresh"))


def test_reports_of_a_killed_run_are_known_to_the_next(tmp_path: Path) -> None:
    run(tmp_path, "Axial CT of the chest.", killed=True)
    [report] = (tmp_path / "dicom_sr").glob("*.dcm")
    half = report.with_name(f".{report.name}.123.tmp")
    half.write_bytes(b"half of a report")
    run(tmp_path, "Axial CT of the head.")
    assert len(list((tmp_path / "dicom_sr").iterdir())) == len(list((tmp_path / "fhir").iterdir())) == 1
    assert not report.exists() and not half.exists()


def test_a_file_is_listed_before_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("scripts.atomic.os.replace", full)
    run(tmp_path, "Axial CT of the chest.", outputs=("dicom_sr",))
    assert "could not be written (No space left on device)" in capsys.readouterr().err
    [line] = (tmp_path / FOLDER / "dicom_sr.jsonl").read_text().splitlines()
    assert json.loads(line).startswith("dicom_sr/") and not list((tmp_path / "dicom_sr").glob("*.dcm"))


def test_what_no_list_names_and_outputs_not_asked_for_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, "Axial CT of the chest.")
    mine = tmp_path / "dicom_sr" / "mine.dcm"
    mine.write_bytes(b"mine")
    kept = {name for name in files(tmp_path) if name.startswith("fhir/")}
    capsys.readouterr()
    run(tmp_path, "Axial CT of the head.", outputs=("dicom_sr",))
    assert mine.read_bytes() == b"mine" and kept <= files(tmp_path)
    assert len(list((tmp_path / "dicom_sr").iterdir())) == 2
    assert "dicom_sr holds files that no run" in capsys.readouterr().err


def test_a_list_reaches_nothing_outside_its_folder(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside.dcm", tmp_path / "out" / "dicom_sr"
    write_text_atomically(outside, "not ours")
    folder.mkdir(parents=True)
    (folder / "case").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path)
    manifest = Manifest(tmp_path / "out", "dicom_sr")
    manifest.note(folder / "case")
    lines = [json.dumps(str(outside)), '"../outside.dcm"', '"link/outside.dcm"', "7", '"dicom_sr/half']
    manifest.path.write_text(manifest.path.read_text() + "\n".join(lines))
    manifest.remove_files()
    assert outside.read_text() == "not ours" and (folder / "case").is_dir() and not manifest.path.exists()


def test_a_file_that_cannot_be_removed_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, "Axial CT of the chest.", outputs=("dicom_sr",))

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(InputError, match="earlier run, cannot be removed"):
        run(tmp_path, "Axial CT of the head.", outputs=("dicom_sr",))
    assert (tmp_path / FOLDER / "dicom_sr.jsonl").is_file()
