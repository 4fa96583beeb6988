"""The browser in which tests look at the page, and a service with one image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from asked_service import running
from made_files import body, ct_slice, save
from staged import Staged

from installed_browser import BROWSER
from scripts.commands.serve import CaptionServer


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return save(tmp_path / "root" / "a.dcm", ct_slice(body()[3]))


@pytest.fixture
def server(image: Path) -> Iterator[CaptionServer]:
    made = running(Staged(), image.parent)
    yield made
    made.shutdown()
    made.server_close()
