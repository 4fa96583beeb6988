"""The HTTP service: one network behind a queue, the page that shows what it does, and what both stand on."""

from __future__ import annotations

from scripts import loads_submodules

__getattr__ = loads_submodules(__name__)
