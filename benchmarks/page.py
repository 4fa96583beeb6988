"""The page in a real browser: how soon it is there, how soon words come, how fast slices scroll.

    .venv/bin/python benchmarks/page.py [--smoke]

Starts the service with the shipped model, opens its page in the installed Chromium (playwright, no download), and
measures: first contentful paint of fresh visits; from the choice of a sample image to the first words of its caption,
once warm; the time of each step through 300 slices of a made volume. The last line is one JSON object: medians
``first_paint_ms``, ``first_words_s`` and ``slice_ms``, and ``slice_p95_ms``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
from service import ROOT, Server

SCROLL = """async () => { const v = window.captioning.panel().viewer, took = [];
  for (let n = 0; n < v.stack.count; n++) {
    const from = performance.now(); await v.go(n); took.push(performance.now() - from);
  }
  return took; }"""
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
WORDS = "(() => { const i = window.captioning.worklist.current; return i?.reply ? i.firstWords : null; })()"


def waited(page: object, script: str, seconds: float = 120.0) -> object:
    """The value of an expression as soon as it is not null; the page's policy forbids playwright's own waiting."""
    ends = time.monotonic() + seconds
    while (value := page.evaluate(script)) is None:
        if time.monotonic() > ends:
            raise SystemExit(f"the page never came to: {script}")
        page.wait_for_timeout(100)  # the page measures by itself; asking it often would take time from the service
    return value


@contextmanager
def opened(root: Path) -> Iterator[tuple[object, str]]:
    """A browser, and the address of a service that captions with the shipped model."""
    from playwright.sync_api import sync_playwright

    names = ("chromium", "google-chrome", "chromium-browser")
    program = next((path for name in names if (path := shutil.which(name))), None)
    if program is None:
        raise SystemExit("There is no Chromium on this machine: apt-get install chromium")
    server = Server.start(ROOT / "bundle", root)
    try:
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
            yield browser, server.url
            browser.close()
    finally:
        server.process.terminate()
        server.process.wait(30)


def first_paints(browser: object, url: str, visits: int) -> list[float]:
    """Milliseconds from navigation to the first paint, with nothing cached."""
    found = []
    for _ in range(visits):
        context = browser.new_context()
        page = context.new_page()
        page.goto(url)
        found.append(waited(page, PAINT))
        context.close()
    return found


def first_words(page: object, rounds: int) -> list[float]:
    """Seconds from a click on a sample to the first words of its caption; the first click warms and does not count."""
    page.wait_for_selector("#samples button")
    found = []
    for number in range(rounds + 1):
        page.click(f"#samples button >> nth={number % page.locator('#samples button').count()}")
        found.append(waited(page, WORDS) / 1000)
        page.reload()
        page.wait_for_selector("#samples button")
    return found[1:]


def slice_times(page: object, folder: Path, slices: int) -> list[float]:
    """Milliseconds of each step through a volume of 256 x 256 pixels, fetched and painted."""
    values = np.random.default_rng(0).integers(0, 2000, (256, 256, slices), dtype=np.int16)
    nib.save(nib.Nifti1Image(values, np.eye(4)), folder / "volume.nii.gz")
    page.set_input_files("#files", folder / "volume.nii.gz")
    waited(page, f"window.captioning.panel()?.viewer.stack?.count === {slices} ? 1 : null")
    waited(page, "window.captioning.worklist.current?.reply ? 1 : null")  # noise: withheld, without words
    return page.evaluate(SCROLL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", "--quick", action="store_true", help="one of each, 20 slices")
    smoke = parser.parse_args().smoke
    with tempfile.TemporaryDirectory() as name, opened(Path(name)) as (browser, url):
        paints = first_paints(browser, url, 1 if smoke else 7)
        page = browser.new_page()
        page.goto(url)
        words = first_words(page, 1 if smoke else 8)
        slices = sorted(slice_times(page, Path(name), 20 if smoke else 300))
    told = {
        "first_paint_ms": round(statistics.median(paints), 1),
        "first_words_s": round(statistics.median(words), 3),
        "slice_ms": round(statistics.median(slices), 2),
        "slice_p95_ms": round(slices[int(0.95 * (len(slices) - 1))], 2),
    }
    for key, value in told.items():
        print(f"{key:<16}{value:>10}")
    print(json.dumps(told))


if __name__ == "__main__":
    main()
