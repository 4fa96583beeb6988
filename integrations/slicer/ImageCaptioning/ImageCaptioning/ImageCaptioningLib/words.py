"""Translation of sentences, also where the library runs outside Slicer."""

from __future__ import annotations

try:
    from slicer.i18n import tr as _
except ImportError:  # a plain Python: set-up and worker run without Slicer, too

    def _(text: str) -> str:
        return text


__all__ = ["_"]
