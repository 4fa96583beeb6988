"""Base of the writers of reports: a folder each, and a date that is the image's own or the clock's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime
from pathlib import Path

from scripts.errors import InputError
from scripts.outputs.captioned_case import CaptionedCase

__all__ = ["ReportWriter"]


class ReportWriter(ABC):
    """One report a case in ``output_dir/<folder>``; subclasses set ``folder`` and write.

    Args:
        output_dir: the run's folder.
        time: ``"source"`` dates a report as the image it is about, so that runs are reproducible; ``"now"`` by the
            clock.

    Raises:
        InputError: another ``time``.
    """

    folder: str

    def __init__(self, *, output_dir: Path, time: str = "source") -> None:
        if time not in ("source", "now"):
            raise InputError(f"output_options of {self.folder!r}: time is 'source' or 'now', not {time!r}")
        self.directory = Path(output_dir) / self.folder
        self.time = time

    def add(self, case: CaptionedCase) -> list[Path]:
        """Write the report of one case.

        Raises:
            InputError: there is no caption, or patient, study or images are missing or ambiguous.
        """
        return [self.write(case, datetime.now().astimezone() if self.time == "now" else None)]

    @abstractmethod
    def write(self, case: CaptionedCase, when: datetime | None) -> Path:
        """The file of one case, dated ``when`` or as its image."""

    def recall(self, case: CaptionedCase, note: None) -> None:  # noqa: B027 (that is all there is to it)
        """Nothing is kept of earlier cases: reports do not depend on each other."""

    def finish(self) -> list[Path]:
        """Nothing is written for the run as a whole."""
        return []
