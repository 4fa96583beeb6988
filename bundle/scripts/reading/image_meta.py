"""`ImageMeta`: what is known of a case, file by file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FileMeta = Mapping[str, Any]
"""What a reader, a window and a letterbox noted of one file (`scripts.reading.case.CaseImage`), plain Python values."""


@dataclass(frozen=True)
class ImageMeta:
    """What is known of a case: one entry for each file that it came from, in the order of its views.

    A file gives one view, or several slices; its entry says how many (``view_count``).

    Attributes:
        views: never empty.
    """

    views: tuple[FileMeta, ...]

    @classmethod
    def of_record(cls, input_: FileMeta | None) -> ImageMeta:
        """From the dictionary that a record's trace holds (``record["trace"]["input"]``)."""
        return cls(tuple((input_ or {}).get("views") or (input_ or {},)))

    def record(self) -> dict[str, Any]:
        """As one dictionary for a record: the first file's entry, and ``views`` with all where there are several."""
        several = {"views": [dict(view) for view in self.views]} if len(self.views) > 1 else {}
        return {**self.views[0], **several}

    def noting(self, key: str, values: list[Any]) -> ImageMeta:
        """With one more value under ``key`` for each entry."""
        return ImageMeta(tuple({**view, key: value} for view, value in zip(self.views, values, strict=True)))

    def counts(self) -> list[int]:
        """How many views each entry stands for."""
        return [int(view.get("view_count") or 1) for view in self.views]
