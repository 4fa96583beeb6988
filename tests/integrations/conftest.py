"""One MONAI Label server and one predictor for all tests of integrations that need them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
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

_running: list[LabelServer] = []
_asking: set[Path] = set()
_end = contextlib.ExitStack()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files whose tests ask the server come one after another: it ends before other captioners start."""
    places = [place for place, item in enumerate(items) if HERE in item.path.parents]
    mine = [items[place] for place in places]
    _asking.update(item.path for item in mine if _asks(item))
    for place, item in zip(places, sorted(mine, key=lambda item: item.path not in _asking), strict=True):
        items[place] = item


def _asks(item: pytest.Item) -> bool:
    """Whether it takes the `server` of this folder, not one of its own file."""
    found = item._fixtureinfo.name2fixturedefs.get("server")
    return bool(found) and found[-1].func.__module__ == __name__


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


@pytest.fixture(scope="module")
def server(studies: Path, tmp_path_factory: pytest.TempPathFactory) -> LabelServer:
    """The server on those studies, one for all files of this folder; skips where MONAI Label is not installed."""
    reason = missing_label_server()
    if reason:
        pytest.skip(reason)
    if not _running:
        _running.append(_end.enter_context(label_server(studies, tmp_path_factory.mktemp("server"))))
    return _running[0]


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """The server ends with the last file that asks it: it holds a network of a gigabyte and more."""
    if nextitem is None or nextitem.path not in _asking:
        _end.close()
        _running.clear()


@pytest.fixture(scope="module")
def predictor(starter: Callable[..., CaptionPredictor]) -> CaptionPredictor:
    """What the server's answers are compared with."""
    return starter()
