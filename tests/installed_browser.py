"""The Chromium of this machine, where it has one."""

from __future__ import annotations

import shutil

import pytest

__all__ = ["BROWSER", "needs_browser"]

BROWSER = next((p for name in ("chromium", "google-chrome", "chromium-browser") if (p := shutil.which(name))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine: apt-get install chromium")
