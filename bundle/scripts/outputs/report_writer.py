"""Bases of writers: a folder for files of single cases, and in it reports, dated as their images or by the clock."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime
from pathlib import Path

from scripts.errors import InputError
from scripts.outputs.captioned_case import CaptionedCase
from scripts.outputs.case_files import CaseNames


class FolderWriter:
    """Files of single cases in ``output_dir/<folder>``, which a subclass names; it adds the cases.

    Args:
        output_dir: the run's folder.
    """

    folder: str

    def __init__(self, *, output_dir: Path) -> None:
        self.directory = Path(output_dir) / self.folder
        self.names = CaseNames()

    def recall(self, case: CaptionedCase, note: None) -> None:
        """The name of a case of an interrupted run is taken; nothing else is kept of earlier cases."""
        self.names.stem(case.source)

    def finish(self) -> list[Path]:
        """Nothing is written for the run as a whole."""
        return []


class ReportWriter(FolderWriter, ABC):
    """One report a case; subclasses set ``folder`` and write.

    Args:
        output_dir: the run's folder.
        time: ``"source"`` dates a report as the image it is about, so that runs are reproducible; ``"now"`` by the
            clock.

    Raises:
        InputError: another ``time``.
    """

    def __init__(self, *, output_dir: Path, time: str = "source") -> None:
        super().__init__(output_dir=output_dir)
        if time not in ("source", "now"):
            raise InputError(f"output_options of {self.folder!r}: time is 'source' or 'now', not {time!r}")
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
