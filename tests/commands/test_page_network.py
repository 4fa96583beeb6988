"""The page before the shipped network, in a real browser: a DICOM file, one that is damaged, and a photograph."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import matplotlib.cbook
import pytest
from driven_page import Watched, drop, started

from installed_browser import needs_browser
from scripts.commands.samples import write_samples
from scripts.commands.serve import CaptionServer
from scripts.predictor import CaptionPredictor

pytestmark = needs_browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CaptionServer]:
    """As a user has it, but for the time that beams take."""
    root = Path(__file__).resolve().parents[2] / "bundle"
    made = started(CaptionPredictor.from_bundle(root, device="cpu", num_beams=1), tmp_path_factory.mktemp("root"))
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture(scope="module")
def ct_head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real DICOM file, which pydicom ships."""
    return next(path for path in write_samples(tmp_path_factory.mktemp("samples")) if path.name == "ct_head.dcm")


@pytest.fixture
def watched(browser, server: CaptionServer) -> Iterator[Watched]:
    made = Watched(browser, server)
    yield made
    made.close()


def exported(page) -> dict:
    """The one record of the worklist's export."""
    with page.expect_download() as waiting:
        page.click("#export")
    return json.loads(Path(waiting.value.path()).read_text())


def test_a_dropped_dicom_gets_its_caption_its_doubts_and_where_words_looked(watched: Watched, ct_head: Path) -> None:
    page = watched.page
    drop(page, "ct_head.dcm", ct_head.read_bytes())
    watched.done()
    page.wait_for_selector(".word", timeout=240_000)
    page.wait_for_function("window.captioning.worklist.current.reply.explanation", timeout=20_000)
    reply = page.evaluate("window.captioning.worklist.current.reply")
    assert reply["caption"] and page.inner_text(".caption").split() == reply["caption"].split()
    assert "CT" in reply["caption"] and reply["modality"] == "CT" and reply["error"] is None
    assert f"{round(100 * reply['confidence'])} % likely right" in page.inner_text(".doubts")
    maps = reply["explanation"]["maps"]
    assert set(maps) == {"network"} and any(one is not None for one in maps["network"])


def test_a_photograph_is_withheld_and_told_so_without_words(watched: Watched) -> None:
    page = watched.page
    photograph = Path(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    drop(page, photograph.name, photograph.read_bytes())
    watched.done()
    said = page.inner_text(".withheld")
    assert said.startswith("Not captioned: does not look like a CT, MR, X-ray or ultrasound image.")
    assert "withheld" in page.inner_text("#list li") and page.locator("#detail .caption").count() == 0
    assert "1 of 1 done, 1 withheld" in page.inner_text("#count")
    record = exported(page)
    assert not record["caption"] and record["withheld"].startswith("does not look like") and record["abstained"]
    page.click("button:has-text('Write a caption')")
    page.fill("textarea", "A portrait.")
    page.click("button:has-text('Done')")
    assert page.inner_text("#detail .caption") == "A portrait." and exported(page)["edited"]


def test_a_damaged_dicom_gets_a_sentence_and_the_next_one_a_caption(watched: Watched, ct_head: Path) -> None:
    page = watched.page
    drop(page, "cut.dcm", ct_head.read_bytes()[:-4000])
    watched.done()
    said = page.inner_text(".caption.wrong")
    assert said.startswith("cut.dcm: ") and "msmedcap_" not in said and "1 not readable" in page.inner_text("#count")
    assert not page.is_visible(".stage")
    drop(page, "ct_head.dcm", ct_head.read_bytes())
    watched.done(2)
    assert page.inner_text(".caption")
    watched.errors = [text for text in watched.errors if "status of 422" not in text]  # Chromium's note of the refusal
