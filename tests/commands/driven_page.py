"""A page of the service in a browser, driven as a person drives it, for tests of the page."""

from __future__ import annotations

import base64
import threading
import time
from pathlib import Path
from typing import Any

from scripts.commands.serve import CaptionServer

__all__ = ["Watched", "drop", "started", "until"]


def started(predictor: Any, root: Path, port: int = 0) -> CaptionServer:
    """A service of the predictor that answers already, on a free port by default."""
    server = CaptionServer(predictor, root=root, port=port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def until(page, script: str, seconds: float = 60.0) -> None:
    """Wait until an expression holds. Playwright's own waiting evaluates text in the page, which its policy forbids."""
    ends = time.monotonic() + seconds
    while not page.evaluate(f"Boolean({script})"):
        assert time.monotonic() < ends, f"still not so: {script}"
        page.wait_for_timeout(30)


class Watched:
    """A page, and what it complained about or asked of others."""

    def __init__(self, browser, server: CaptionServer, **more: object) -> None:
        self.context = browser.new_context(viewport={"width": 1360, "height": 900}, accept_downloads=True, **more)
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.elsewhere: list[str] = []
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._asked)
        self.url = server.url
        self.page.goto(self.url)
        self.page.wait_for_selector("#samples button")

    def _asked(self, request) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.elsewhere.append(request.url)

    def done(self, count: int = 1) -> None:
        """Wait until so many images are captioned, which are all that were opened."""
        until(self.page, f"document.getElementById('count').textContent.startsWith('{count} of {count} ')")

    def close(self) -> None:
        """Nothing was complained about, and nothing asked of anybody else."""
        self.context.close()
        assert self.errors == [] and self.elsewhere == []


def drop(page, name: str, content: bytes, event: str = "drop") -> None:
    """Give the page a file as dragging or pasting does."""
    page.evaluate(
        """([name, content, kind]) => {
          const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
          const held = new DataTransfer();
          held.items.add(new File([bytes], name));
          const told = kind === "drop" ? new DragEvent("drop", { dataTransfer: held, bubbles: true, cancelable: true })
            : new ClipboardEvent("paste", { clipboardData: held, bubbles: true });
          document.body.dispatchEvent(told);
        }""",
        [name, base64.b64encode(content).decode(), event],
    )
