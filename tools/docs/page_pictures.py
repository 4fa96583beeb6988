"""Pictures of the service's page for README and docs: a sample captioned, a word looked at, a photograph, a phone.

.venv/bin/python tools/docs/page_pictures.py
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bundle"), str(ROOT / "benchmarks")]

from playwright.sync_api import Page, sync_playwright  # noqa: E402
from strange_pictures import photographs  # noqa: E402

from scripts.commands.serve import CaptionServer  # noqa: E402
from scripts.predictor import CaptionPredictor  # noqa: E402

PICTURES = ROOT / "docs" / "images" / "page"


def captioned(page: Page, url: str) -> None:
    """All samples captioned, the first one open."""
    page.goto(url)
    page.wait_for_selector("#samples button")
    for number in range(4):
        page.click(f"#samples button >> nth={number}")
    page.wait_for_selector("#count:has-text('4 of 4')", timeout=300_000)
    page.click("#list li >> nth=0")
    page.wait_for_selector(".word", timeout=300_000)
    page.wait_for_function("window.captioning.worklist.current.reply?.explanation", timeout=300_000)
    page.wait_for_timeout(1500)


def look(page: Page, number: int, *, outline: bool) -> None:
    """A word looked at; with what SAM's mask decoder draws, which is loaded at its first use."""
    if outline:
        page.click('button:has-text("SAM\'s outline")')
    page.hover(f".word >> nth={number}")
    while page.evaluate(f"window.captioning.panel().viewer.{'region' if outline else 'heat'} === null"):
        page.wait_for_timeout(100)


def main() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as root, sync_playwright() as driver:
        server = CaptionServer(CaptionPredictor.from_bundle(ROOT / "bundle", device="cpu"), root=root)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            page = browser.new_page(viewport={"width": 1320, "height": 820}, color_scheme=scheme)
            captioned(page, server.url)
            look(page, 5, outline=scheme == "dark")
            page.screenshot(path=PICTURES / f"{scheme}.png")
            page.close()
        page = browser.new_page(viewport={"width": 1320, "height": 640})
        page.goto(server.url)
        page.set_input_files("#files", next(path for path in photographs() if path.name == "coffee.png"))
        page.wait_for_selector("#count:has-text('1 of 1')", timeout=300_000)
        page.wait_for_timeout(1500)
        page.screenshot(path=PICTURES / "withheld.png")
        page.close()
        phone = browser.new_page(viewport={"width": 390, "height": 844})
        captioned(phone, server.url)
        phone.screenshot(path=PICTURES / "phone.png")
        browser.close()
        server.shutdown()
        server.server_close()
    print(PICTURES)


if __name__ == "__main__":
    main()
