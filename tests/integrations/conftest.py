"""One MONAI Label server and one predictor for all tests of integrations that need them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
INTEGRATIONS = ROOT / "integrations"
sys.path[:0] = [
    str(HERE),
    str(INTEGRATIONS / "monailabel"),
    str(INTEGRATIONS / "monailabel" / "compat"),
    str(INTEGRATIONS / "slicer" / "ImageCaptioning" / "ImageCaptioning"),
]

import study_files  # noqa: E402
from label_server import LabelServer, label_server, missing_label_server  # noqa: E402

from scripts.predictor import CaptionPredictor  # noqa: E402


@pytest.fixture(scope="session")
def studies(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A studies folder; with the real series and pictures where the machine has them."""
    folder = study_files.write_studies(tmp_path_factory.mktemp("label") / "studies")
    try:
        shared = request.getfixturevalue("shared_data")
    except pytest.skip.Exception:
        return folder
    study_files.add_real_studies(folder, shared)
    return folder


@pytest.fixture(scope="session")
def server(studies: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelServer]:
    """The server on those studies; skips where MONAI Label is not installed."""
    reason = missing_label_server()
    if reason:
        pytest.skip(reason)
    with label_server(studies, tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="module")
def predictor(starter: Callable[..., CaptionPredictor]) -> CaptionPredictor:
    """What the server's answers are compared with."""
    return starter()
