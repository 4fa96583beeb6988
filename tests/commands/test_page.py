"""The page in a real browser: Debian's Chromium, driven by playwright, without a network."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from driven_page import Watched, drop, started, until
from made_files import ct_slice, save
from PIL import Image
from staged import WORDS, Staged

from installed_browser import needs_browser
from scripts.commands.serve import CaptionServer

pytestmark = needs_browser
AXE = Path(sys.prefix) / "axe" / "node_modules" / "axe-core" / "axe.min.js"
CAPTION = " ".join(WORDS)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[CaptionServer]:
    (tmp_path / "root").mkdir()
    made = started(Staged(), tmp_path / "root")
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def watched(browser, server: CaptionServer) -> Iterator[Watched]:
    made = Watched(browser, server)
    yield made
    made.close()


def dicom(path: Path) -> Path:
    hu = np.tile(np.linspace(-1000, 1000, 128).astype(np.int64), (128, 1))
    return save(path, ct_slice(hu, WindowCenter=40, WindowWidth=400, PatientName="Secret^Person", PixelSpacing=[1, 1]))


def volume(path: Path, slices: int) -> Path:
    ramp = np.arange(slices, dtype=np.int16) * 3
    values = np.broadcast_to(ramp, (96, 80, slices)) + np.arange(96, dtype=np.int16)[:, None, None]
    nib.save(nib.Nifti1Image(np.ascontiguousarray(values), np.eye(4)), path)
    return path


def inked(page, x: float, y: float) -> list[int]:
    """Colour of the picture at a share of its width and height."""
    script = """([x, y]) => { const c = document.querySelector(".stage canvas");
      return [...c.getContext("2d").getImageData(Math.round(x * c.width), Math.round(y * c.height), 1, 1).data]; }"""
    return page.evaluate(script, [x, y])


def test_a_dropped_dicom_is_captioned_word_by_word_and_words_show_where_they_looked(
    watched: Watched, server: CaptionServer, tmp_path: Path
) -> None:
    page, predictor = watched.page, server.predictor
    predictor.go_on.clear()
    drop(page, "slice.dcm", dicom(tmp_path / "slice.dcm").read_bytes())
    page.wait_for_selector(".caption.growing:not(:empty)")
    assert page.inner_text(".caption.growing") == "Axial"
    assert "looking at the image" in page.inner_text(".progress")
    predictor.go_on.set()
    watched.done()
    assert page.inner_text(".caption").split() == list(WORDS)
    until(page, "window.captioning.panel().viewer.stack")
    before = inked(page, 0.1, 0.1)
    page.hover(".word >> nth=0")
    until(page, "window.captioning.panel().viewer.heat")
    red, _, blue, _ = inked(page, 0.1, 0.1)
    assert before[0] == before[2] and red - blue > 60
    page.hover(".word >> nth=1")
    assert "looked everywhere alike" in page.inner_text(".switch")
    page.click('button:has-text("SAM\'s outline")')
    page.hover(".word >> nth=2")
    assert "names nothing visible" in page.inner_text(".switch")
    assert (
        page.evaluate("[window.captioning.panel().viewer.heat, window.captioning.panel().viewer.region]") == [None] * 2
    )
    page.hover(".word >> nth=4")
    until(page, "window.captioning.panel().viewer.region")
    assert "made for a test" in page.inner_text(".text-side") and "Secret" not in page.content()


def test_a_picture_is_pasted_and_a_sample_is_chosen(watched: Watched) -> None:
    page, file = watched.page, io.BytesIO()
    Image.fromarray(np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)).save(file, "PNG")
    drop(page, "pasted.png", file.getvalue(), "paste")
    watched.done()
    page.click("#samples button >> nth=0")
    watched.done(2)
    assert page.locator("#list li").count() == 2


def test_slices_scroll_and_windows_change_by_name_and_by_dragging(
    watched: Watched, server: CaptionServer, tmp_path: Path
) -> None:
    page = watched.page
    page.set_input_files("#files", volume(tmp_path / "v.nii.gz", 300))
    watched.done()
    until(page, "window.captioning.panel().viewer.stack?.count === 300")
    page.evaluate("(async () => { for (let n = 0; n < 300; n++) await window.captioning.panel().viewer.go(n); })()")
    assert page.inner_text(".corner") == "300 / 300"
    page.evaluate("window.captioning.panel().viewer.go(150)")
    dark = inked(page, 0.5, 0.5)[0]
    page.locator(".stage").hover()
    page.mouse.down()
    page.mouse.move(500, 300, steps=4)
    page.mouse.up()
    assert inked(page, 0.5, 0.5)[0] != dark
    late: list = []
    page.route("**/shown?*", lambda route: late.append(route))
    page.click("button:has-text('Caption this view')")
    until(page, "window.captioning.panel().viewer.captioned === 150")
    asked = server.predictor.asked[-1][1]
    assert asked["slice"] == 150 and "/" in asked["window"]
    page.click("button:has-text('Reset')")
    page.locator(".stage canvas").focus()
    page.keyboard.press("ArrowUp")
    until(page, "document.querySelector('.corner').textContent === '152 / 300'")
    page.keyboard.press("+")
    assert page.evaluate("window.captioning.panel().viewer.zoom") > 1
    with page.expect_response("**/stack?*"):  # a picture that comes late does not scroll the reader back
        for held in late:
            held.continue_()
    page.wait_for_timeout(200)
    assert page.inner_text(".corner") == "152 / 300"


def test_presets_are_offered_for_ct_and_change_the_picture(watched: Watched, tmp_path: Path) -> None:
    page = watched.page
    page.set_input_files("#files", dicom(tmp_path / "slice.dcm"))
    watched.done()
    until(page, "window.captioning.panel().viewer.slices.get(0)?.values")
    page.select_option("select[aria-label=Window]", "lung")
    assert "-600 / 1500 HU" in page.inner_text(".stage")
    value = -1000 + 2000 * 38 / 127
    found, wanted = inked(page, 38.5 / 128, 0.5)[0], 255 * (value + 600 + 750) / 1500
    assert abs(found - wanted) < 6


def test_a_caption_is_edited_copied_and_downloaded(browser, server: CaptionServer, tmp_path: Path) -> None:
    watched = Watched(browser, server, permissions=["clipboard-read", "clipboard-write"])
    page = watched.page
    page.set_input_files("#files", dicom(tmp_path / "slice.dcm"))
    watched.done()
    page.click("button:has-text('Edit')")
    page.fill("textarea", "Axial CT of a phantom.")
    page.click("button:has-text('Done')")
    assert page.inner_text(".caption") == "Axial CT of a phantom."
    page.click("button:has-text('Copy')")
    page.wait_for_selector("text=copied")
    assert page.evaluate("navigator.clipboard.readText()") == "Axial CT of a phantom."
    files = {}
    for kind in ("json", "pdf", "dicom_sr", "fhir"):
        with page.expect_download() as waiting:
            page.click(f"button[data-kind={kind}]")
        files[kind] = Path(waiting.value.path())
    record = json.loads(files["json"].read_text())
    assert record["caption"] == "Axial CT of a phantom." and record["edited"] and record["image"] == "slice.dcm"
    assert "msmedcap_" not in files["json"].read_text()
    report = pydicom.dcmread(files["dicom_sr"])
    assert report.PatientName == "Secret^Person" and "phantom" in report.to_json()
    assert files["pdf"].read_bytes().startswith(b"%PDF")
    assert json.loads(files["fhir"].read_text())["conclusion"] == "Axial CT of a phantom."
    with page.expect_download() as waiting:
        page.click("#export")
    assert json.loads(Path(waiting.value.path()).read_text())["caption"] == "Axial CT of a phantom."
    watched.close()


def test_a_withheld_caption_leaves_only_when_it_was_read(browser, tmp_path: Path) -> None:
    server = started(Staged(unsure=True), tmp_path)
    watched = Watched(browser, server)
    page = watched.page
    page.set_input_files("#files", dicom(tmp_path / "slice.dcm"))
    watched.done()
    assert "Withheld from programs" in page.inner_text(".withheld")
    page.click("button[data-kind=json]")
    page.wait_for_selector("text=edit it, or confirm it")
    watched.errors.clear()  # the browser notes the refusal
    page.check(".actions input")
    with page.expect_download():
        page.click("button[data-kind=json]")
    watched.close()
    server.shutdown()
    server.server_close()


def test_a_folder_keeps_its_names_and_one_image_stays_beside_the_next(watched: Watched, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    (folder / ".hidden").mkdir(parents=True)
    for name, angle in (("a.png", 0), ("b.png", 1)):
        pixels = np.rot90(np.arange(64 * 64, dtype=np.uint8).reshape(64, 64), angle)
        Image.fromarray(np.ascontiguousarray(pixels)).save(folder / name)
    page = watched.page
    page.set_input_files("#folder", folder)
    watched.done(2)
    names = page.evaluate("window.captioning.worklist.items.map((item) => item.name)")
    assert sorted(names) == ["study/a.png", "study/b.png"]
    page.click("#list li >> nth=0")
    first = page.inner_text(".case h2 span")
    page.click("button:has-text('Compare')")
    page.click("#list li >> nth=1")
    shown = page.locator(".case h2 span").all_inner_texts()
    assert len(shown) == 2 and shown[0] == first and shown[1] != first
    boxes = [one.bounding_box() for one in page.locator(".case").all()]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"] + 1
    page.click("button:has-text('Close')")
    page.click("#list li >> nth=1")
    assert page.locator(".case").count() == 1


def test_the_keyboard_alone_does_it(watched: Watched) -> None:
    page = watched.page
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "ct_head.dcm":
            break
    page.keyboard.press("Enter")
    watched.done()
    page.click("#samples button >> nth=1")
    watched.done(2)
    page.locator("#list").focus()
    page.keyboard.press("Home")
    assert page.inner_text(".case h2 span") == "ct_head.dcm"
    page.keyboard.press("ArrowRight")
    assert page.inner_text(".word[aria-pressed=true]") == "Axial"
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"


def test_broken_files_and_mixed_folders_get_a_sentence_each(watched: Watched, tmp_path: Path) -> None:
    page = watched.page
    good = dicom(tmp_path / "slice.dcm").read_bytes()
    files = [{"name": "cut.dcm", "mimeType": "", "buffer": good[: len(good) // 3]},
             {"name": "slice.dcm", "mimeType": "", "buffer": good}]  # fmt: skip
    page.set_input_files("#files", files[:1])
    watched.done()
    said = page.inner_text(".caption.wrong")
    assert said.startswith("cut.dcm: ") and "tmp" not in said
    page.set_input_files("#files", files)
    until(page, "document.getElementById('count').textContent.startsWith('2 of 2')")
    page.set_input_files("#files", {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no image at all"})
    until(page, "document.getElementById('count').textContent.startsWith('3 of 3')")
    assert "is not an image of a known kind" in page.inner_text(".caption.wrong")
    noted = "the server responded with a status of 422"  # Chromium's own note of each refusal
    watched.errors = [text for text in watched.errors if noted not in text]


def test_the_service_may_go_and_come_back(browser, tmp_path: Path) -> None:
    server = started(Staged(pause=0.05), tmp_path)
    watched = Watched(browser, server)
    page, port = watched.page, server.server_address[1]
    server.shutdown()
    server.server_close()
    page.click("#samples button >> nth=0")
    page.wait_for_selector("text=The service does not answer")
    again = started(Staged(), tmp_path, port)
    page.wait_for_selector("#banner", state="hidden", timeout=20_000)
    until(page, "document.getElementById('count').textContent.startsWith('1 of 1')")
    page.wait_for_selector("text=open it again")  # the new service does not know what the old one handed out
    watched.errors.clear()
    watched.close()
    again.shutdown()
    again.server_close()


def test_three_hundred_images_fill_a_list_that_is_read_paused_and_sorted(
    browser, server: CaptionServer, tmp_path: Path
) -> None:
    pixels = np.arange(32 * 32, dtype=np.uint8).reshape(32, 32)
    for number in range(300):
        Image.fromarray(np.roll(pixels, number, 1)).save(server.root / f"{number:03d}.png")
    watched = Watched(browser, server)
    page = watched.page
    page.click("#served")
    page.wait_for_selector(".caption")
    page.click("#pause")
    page.wait_for_timeout(800)
    paused = page.inner_text("#count")
    page.wait_for_timeout(400)
    assert page.inner_text("#count") == paused and not paused.startswith("300 of")
    page.click("#pause")
    watched.done(300)
    page.select_option("#sort", "unsure")
    page.wait_for_timeout(600)
    sure = page.evaluate("window.captioning.worklist.shown.map((i) => i.reply.confidence)")
    assert len(sure) == 300 and sure == sorted(sure)
    assert max(size for size, *_ in server.predictor.asked) > 1
    page.fill("#search", "299.png")
    assert page.locator("#list li").count() == 1
    page.click("#list li")
    page.wait_for_selector(".word")  # maps are made for what is opened
    watched.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1360, 900), (390, 844)])
def test_it_fits_and_axe_finds_no_serious_fault(browser, server: CaptionServer, scheme: str, size: tuple) -> None:
    watched = Watched(browser, server, color_scheme=scheme)
    page = watched.page
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.click("#samples button >> nth=0")
    watched.done()
    page.wait_for_selector(".word")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    if not AXE.is_file():
        watched.close()
        pytest.skip("axe-core is not installed: make setup gets it where there is npm")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run().then((r) => r.violations.map((v) => [v.impact, v.id, v.nodes[0].html]))")
    assert [one for one in found if one[0] in ("serious", "critical")] == []
    watched.close()


def test_the_api_page_lists_the_routes(watched: Watched) -> None:
    watched.page.goto(f"{watched.url}/docs")
    watched.page.wait_for_selector("text=POST /caption")
    watched.page.click("text=POST /caption")
    assert "num_beams" in watched.page.content()
