"""Judges of DICOM objects that are not ours, and the records and files that tests report on."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest

from scripts.errors import InputError
from scripts.reading import read_case

PYDICOM_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
CAPTION = "Axial CT of the head, “no” fracture at 5 µm ≤ α."
WEIGHTS = {"model.pt": "ab" * 32, "lite_medsam.pth": "cd" * 32}


def record_of(source: Any, *, caption: str = CAPTION, **reading: Any) -> dict[str, Any]:
    """A line of captions.jsonl about ``source`` as the real reader sees it."""
    if isinstance(source, list):
        views = [read_case(path, **reading).meta for path in source]
        meta = {**views[0], "views": views}
    else:
        meta = read_case(source, **reading).meta
    return {
        "image": str(source), "caption": caption, "token_confidence": 0.6, "confidence": 0.876543,
        "finding_confidence": 0.1234,
        "findings": [{"finding": "a lesion", "probability": 0.1234, "stated": True}],
        "model_version": "0.1.0", "weights": WEIGHTS,
        "modality": meta["modality"], "window": "40/80", "trace": {"input": meta}, "error": None,
    }  # fmt: skip


def assert_valid(path: Path) -> None:
    """``dciodvfy`` finds no error; skips where it is not installed."""
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("dciodvfy is not installed (Debian: apt-get install dicom3tools)")
    done = subprocess.run([program, "-new", str(path)], capture_output=True, text=True)
    errors = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]
    assert not errors and done.returncode == 0, (path, errors)


def dumped(path: Path) -> str:
    """What dcmtk's ``dsrdump`` makes of a report, in full; fails on any error, skips where it is not installed."""
    program = shutil.which("dsrdump")
    if program is None:
        pytest.skip("dsrdump is not installed (Debian: apt-get install dcmtk)")
    done = subprocess.run([program, "+Pl", "+Pc", str(path)], capture_output=True)
    messages = [line for line in done.stderr.decode(errors="replace").splitlines() if line.startswith(("E:", "F:"))]
    assert done.returncode == 0 and not messages, (path, messages)
    return done.stdout.decode("utf-8")


def readable(folder: Path) -> list[Path]:
    """The DICOM files of a folder that can be captioned at all."""
    found = []
    for path in sorted(folder.glob("*.dcm")):
        try:
            read_case(path)
        except InputError:
            continue
        found.append(path)
    return found


def altered(source: Path, target: Path, change: Callable[[pydicom.Dataset], None]) -> Path:
    """A copy of a DICOM file with its data set changed."""
    dataset = pydicom.dcmread(source)
    change(dataset)
    target.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(target)
    return target
