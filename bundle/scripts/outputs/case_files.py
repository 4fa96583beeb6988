"""File names of cases: readable, safe, and never the same for two cases of a run."""

from __future__ import annotations

import re
from pathlib import Path

from scripts.outputs.record import source_name


def clean(text: str, length: int = 80) -> str:
    """``text`` with nothing but letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^\w.-]+", "_", text).strip("._")[:length]


class CaseNames:
    """Stems such as ``ct_slice`` and, for the next source of that name, ``ct_slice_2``; the order of cases decides."""

    def __init__(self) -> None:
        self.given: dict[str, int] = {}

    def stem(self, source: str | list[str]) -> str:
        """The name of the case's (first) file without its ending; ``image`` for an array."""
        name = Path(source_name(source)).name
        for ending in (".gz", Path(name.removesuffix(".gz")).suffix):
            name = name.removesuffix(ending) if ending else name
        stem = clean(name) or "image"
        count = self.given[stem] = self.given.get(stem, 0) + 1
        return stem if count == 1 else f"{stem}_{count}"
