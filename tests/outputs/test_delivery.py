"""All outputs together: what one of them meets in one image stays with that output and that image."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.outputs import delivery as module
from scripts.outputs.captioned_case import CaptionedCase
from scripts.outputs.delivery import Delivery


class Broken:
    """Fails on the first image, as a damaged header makes a library fail: with a patient's name in its text."""

    def __init__(self, error: Exception) -> None:
        self.error, self.written = error, []

    def add(self, case: CaptionedCase) -> list[Path]:
        if case.source == "first.dcm":
            raise self.error
        self.written.append(case.source)
        return []

    def finish(self) -> list[Path]:
        return []


def delivered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, broken: str) -> tuple[Delivery, list]:
    made = module.build_writers

    def build_writers(names: list[str], *arguments: object) -> dict:
        writers = made([name for name in names if name != broken], *arguments)
        return {name: Broken(error) if name == broken else writers[name] for name in names}

    monkeypatch.setattr(module, "build_writers", build_writers)
    delivery = Delivery(tmp_path, outputs=["jsonl", "dicom_seg"])
    cases = [CaptionedCase(n, {"image": n, "caption": "A chest."}, None, ()) for n in ("first.dcm", "second.dcm")]
    for case in cases:
        delivery.deliver(case)
    delivery.finish()
    return delivery, [json.loads(line) for line in (tmp_path / "captions.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("ZipFile for DOE^JANE is closed"), "ValueError"),
        (KeyError("DOE^JANE"), "KeyError"),
        (OSError("DOE^JANE"), "OSError"),
        (OSError(28, "DOE^JANE"), "No space left on device"),
    ],
)
def test_an_unforeseen_failure_is_noted_by_its_kind_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, kind: str
) -> None:
    delivery, (first, second) = delivered(tmp_path, monkeypatch, error, "dicom_seg")
    sentence = f"first.dcm: could not be written ({kind}); leave this output out for it"
    assert first["output_errors"] == {"dicom_seg": sentence} and "output_errors" not in second
    assert delivery.writers["dicom_seg"].written == ["second.dcm"] and delivery.failed == 1
    told = capsys.readouterr().err
    assert sentence in told and "DOE" not in told


def test_a_record_that_cannot_be_written_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="no space left"):
        delivered(tmp_path, monkeypatch, OSError(28, "no space left"), "jsonl")
