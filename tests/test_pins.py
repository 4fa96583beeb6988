"""Our pins for every Python that `make` takes: wheels exist for all of them, as the package index says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PINS = [
    Requirement(line)
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    if line.strip() and not line.startswith("#")
]


def _resolve(python: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What pip would install for that Python from wheels alone; nothing is installed."""
    pins = [str(pin) for pin in PINS if pin.marker is None or pin.marker.evaluate({"python_version": python})]
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--dry-run",
        "--quiet",
        "--ignore-installed",
        "--only-binary=:all:",
    ]
    command += ["--target", str(folder), "--python-version", python, "--report", str(folder / "report.json"), *pins]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips where there is no package index."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "fire==0.7.1", "--dest"]
    done = subprocess.run([*command, str(tmp_path_factory.mktemp("index"))], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("no package index can be reached")


def test_every_pin_is_exact() -> None:
    for pin in PINS:
        assert [part.operator for part in pin.specifier] == ["=="], pin


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_the_pins_resolve_from_wheels(python: str, tmp_path: Path, index: None) -> None:
    done = _resolve(python, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    found = {
        item["metadata"]["name"].lower().replace("_", "-"): item["metadata"]["version"] for item in report["install"]
    }
    for pin in PINS:
        assert pin.specifier.contains(found[pin.name.lower().replace("_", "-")].split("+")[0]), pin
    assert all(item["download_info"]["url"].endswith(".whl") for item in report["install"])


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_what_keeps_the_next_python_out_is_known(tmp_path: Path, index: None) -> None:
    """When this fails, `make`, `requires-python` and the docs can take 3.14."""
    done = _resolve("3.14", tmp_path)
    assert done.returncode != 0 and "pyjpegls" in done.stderr, done.stderr[-2000:]
