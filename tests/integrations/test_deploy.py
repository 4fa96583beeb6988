"""The MONAI Deploy application on a CT series: its report holds the caption that the predictor gives.

The SDK brings 3 GB (CUDA libraries that its runtime needs even on a CPU), so it lives in an environment of its own:
``make deploy-setup``, or name one with MSMEDCAP_DEPLOY_PYTHON. Without it the application's test is skipped; what does
not need the SDK is tested anyway.
"""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import pydicom
import pytest

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "integrations" / "deploy"


def load(name: str):
    """A module of the application that needs no SDK."""
    spec = importlib.util.spec_from_file_location(f"deploy_{name}", DEPLOY / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


packed_bundle = load("packed_bundle")


def deploy_python() -> str:
    """An interpreter with the MONAI Deploy App SDK; skips where there is none."""
    named = os.environ.get("MSMEDCAP_DEPLOY_PYTHON")
    candidates = [named] if named else [str(ROOT / ".venv-deploy" / "bin" / "python"), sys.executable]
    probe = "import importlib.metadata; importlib.metadata.version('monai-deploy-app-sdk')"  # without importing torch
    for python in candidates:
        if Path(python).is_file() and subprocess.run([python, "-c", probe], capture_output=True).returncode == 0:
            return python
    pytest.skip("the MONAI Deploy App SDK is not installed (make deploy-setup, or set MSMEDCAP_DEPLOY_PYTHON)")


def run_app(python: str, source: Path, output: Path, model: Path, **environment: str) -> subprocess.CompletedProcess:
    """The application in a process of its own, with the stack size that Holoscan asks for."""
    output.mkdir()
    command = [python, str(DEPLOY / "app.py"), "--input", str(source), "--output", str(output), "--model", str(model)]
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    wanted = 32 * 2**20 if hard in (resource.RLIM_INFINITY,) or hard >= 32 * 2**20 else soft
    return subprocess.run(
        command,
        cwd=output,
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": "", **environment},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_STACK, (wanted, hard)),
    )


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, str(ROOT / "tools" / "package.py"), str(ROOT / "bundle"), str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("*.zip"))


@pytest.mark.timeout(1200)
def test_a_ct_series_becomes_a_report_with_its_caption(
    shared_data: Path, bundle_root: Path, tmp_path: Path, packed: Path
) -> None:
    python = deploy_python()
    source = shared_data / "formats" / "ct_series"
    done = run_app(python, source, tmp_path / "out", packed, MSMEDCAP_NUM_BEAMS="1")
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    lines = [json.loads(line) for line in (tmp_path / "out" / "captions.jsonl").read_text().splitlines()]
    reports = list((tmp_path / "out" / "dicom_sr").glob("*.dcm"))
    assert len(lines) == len(reports) == 1
    assert lines[0]["image"] == str(source)  # not the folder of links that the operator gathers a series in
    from scripts.predictor import CaptionPredictor

    expected = CaptionPredictor.from_bundle(bundle_root, device="cpu", num_beams=1).caption(source)
    report = pydicom.dcmread(reports[0])
    findings = report.ContentSequence[-1]
    assert findings.ContentSequence[0].TextValue == lines[0]["caption"] == expected.text
    original = pydicom.dcmread(source / "01.dcm", stop_before_pixels=True)
    assert (report.PatientID, report.StudyInstanceUID) == (original.PatientID, original.StudyInstanceUID)
    reference = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert reference.SeriesInstanceUID == original.SeriesInstanceUID
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["captions.jsonl", "dicom_sr"]


@pytest.mark.parametrize(("name", "value"), [("OUTPUTS", "dicom_sr,html5"), ("NUM_BEAMS", "many")])
def test_a_wrong_option_is_one_sentence(tmp_path: Path, packed: Path, name: str, value: str) -> None:
    python = deploy_python()
    (tmp_path / "study").mkdir()
    done = run_app(python, tmp_path / "study", tmp_path / "out", packed, **{f"MSMEDCAP_{name}": value})
    said = done.stdout + done.stderr
    assert done.returncode == 1 and value.split(",")[-1] in said and "Traceback" not in said, said[-2000:]


def test_a_packed_bundle_is_found_and_unpacked(tmp_path: Path, packed: Path) -> None:
    for given in (packed, packed.parent):  # the file, or a folder that holds it, as MONAI Deploy mounts models
        bundle = packed_bundle.open_bundle(given, tmp_path / "work")
        assert (bundle / "configs" / "inference.json").is_file() and (bundle / "models" / "model.pt").is_file()
    assert packed_bundle.open_bundle(bundle, tmp_path) == bundle
    assert packed_bundle.open_bundle(bundle.parent, tmp_path) == bundle


def test_what_is_no_bundle_is_refused_in_a_sentence(tmp_path: Path, packed: Path) -> None:
    with pytest.raises(ValueError, match="make package"):
        packed_bundle.open_bundle(tmp_path, tmp_path)
    (tmp_path / "broken.zip").write_bytes(packed.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"broken\.zip: is a damaged zip"):
        packed_bundle.open_bundle(tmp_path / "broken.zip", tmp_path)
    with zipfile.ZipFile(tmp_path / "escape.zip", "w") as archive:
        archive.writestr("b/configs/inference.json", "{}")
        archive.writestr("../../outside.txt", "x")
    with pytest.raises(ValueError, match=r"escape\.zip: is not a packaged bundle"):
        packed_bundle.open_bundle(tmp_path / "escape.zip", tmp_path / "work")
    with pytest.raises(ValueError, match="holds 2 bundles"):
        packed_bundle.open_bundle(tmp_path, tmp_path)
