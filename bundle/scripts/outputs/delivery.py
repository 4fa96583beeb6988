"""Delivery: all outputs of a run; one that fails for a case is noted in its record, and the run goes on.

What an output wrote in an earlier run into the same folder is removed before it writes anything
(`scripts.outputs.manifest`); outputs that are not asked for again keep their files. ``captions.jsonl`` is replaced when
the run has ended.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from scripts.atomic import telling
from scripts.errors import InputError
from scripts.outputs import build_writers
from scripts.outputs.captioned_case import CaptionedCase, OutputWriter
from scripts.outputs.manifest import Manifest
from scripts.outputs.record import source_name


class Delivery:
    """Gives each case to the writers of ``outputs``; ``captions.jsonl`` and the report come last, as they tell all.

    Args:
        output_dir: folder of everything that is written; made at the first case.
        outputs: names from ``scripts.outputs.WRITERS``.
        options: of each output, by its name.

    Raises:
        InputError: an output that cannot be written.
    """

    LAST = ("html", "jsonl")

    def __init__(
        self,
        output_dir: str | Path,
        *,
        outputs: Sequence[str] = ("jsonl",),
        options: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        ordered = [name for name in outputs if name not in self.LAST] + [n for n in self.LAST if n in outputs]
        self.output_dir = Path(output_dir)
        self.writers = build_writers(ordered, self.output_dir, options)
        self.manifests = {name: Manifest(self.output_dir, name) for name in self.writers}
        self.begun = False
        self.failed = 0

    def begin(self) -> None:
        """Remove what these outputs wrote in an earlier run; the first case does so, where nobody did.

        Raises:
            InputError: a file cannot be removed.
        """
        self.output_dir.mkdir(parents=True, exist_ok=True)
        for name, manifest in self.manifests.items():
            manifest.remove_files()
            folder = self.output_dir / name
            if folder.is_dir() and any(folder.iterdir()):
                print(f"note: {folder} holds files that no run into this folder lists; they stay", file=sys.stderr)
        self.begun = True

    @property
    def resumable(self) -> bool:
        """Whether every output can go on with a run that was interrupted."""
        return all(hasattr(writer, "recall") for writer in self.writers.values())

    def take_up(self) -> None:
        """Instead of `begin`: go on with a run that was interrupted; `recall` then gets each case that it wrote."""
        for manifest in self.manifests.values():
            manifest.take_up()
        self.begun = True

    def recall(self, case: CaptionedCase, notes: Mapping[str, Any]) -> None:
        """Take up a case that the interrupted run had written.

        Args:
            case: its source and record.
            notes: as `notes_of` gave them.
        """
        self.failed += bool(case.record.get("output_errors"))
        for name, writer in self._writers_of(case):
            writer.recall(case, notes.get(name))

    def notes_of(self, case: CaptionedCase) -> dict[str, Any]:
        """What writers need to know of the case just delivered, beside its record, to go on after it."""
        failed = case.record.get("output_errors") or {}
        able = [(name, writer) for name, writer in self._writers_of(case) if hasattr(writer, "note")]
        return {name: writer.note() for name, writer in able if name not in failed}

    def _writers_of(self, case: CaptionedCase) -> list[tuple[str, OutputWriter]]:
        """Of a case without a caption only what `LAST` names can be written."""
        has_caption = case.record.get("caption") is not None
        return [(name, writer) for name, writer in self.writers.items() if has_caption or name in self.LAST]

    def deliver(self, case: CaptionedCase) -> CaptionedCase:
        """Write one case; returns it with ``output_errors`` ``{output: sentence}`` in its record where any failed.

        A case without a caption (an error, or withheld) goes to the outputs of ``LAST`` only: there is nothing else to
        write of it.

        Raises:
            Exception: of ``jsonl`` alone, such as a full disk: without the record there is nowhere to note a failure.
        """
        if not self.begun:
            self.begin()
        errors: dict[str, str] = {}
        for name, writer in self._writers_of(case):
            try:
                with telling(self.manifests[name].note):
                    writer.add(case)
            except Exception as error:  # whatever a writer meets in one image, the others are still written
                if name == "jsonl" and not isinstance(error, InputError):
                    raise
                errors[name] = _sentence(case, error)
                print(f"error: {source_name(case.source)}: {name}: {errors[name]}", file=sys.stderr)
                case = replace(case, record={**case.record, "output_errors": dict(errors)})
        self.failed += bool(errors)
        return case

    def finish(self) -> list[Path]:
        """Files written for the run as a whole."""
        if not self.begun:
            self.begin()
        self.begun = False
        files: list[Path] = []
        for name, writer in self.writers.items():
            with telling(self.manifests[name].note):
                files += writer.finish()
        return files


def _sentence(case: CaptionedCase, error: Exception) -> str:
    """Why an output failed. Of an unforeseen error only the kind is told, since its text may quote the header."""
    if isinstance(error, InputError):
        return " ".join(str(error).split())
    number = error.errno if isinstance(error, OSError) else None
    kind = type(error).__name__ if number is None else os.strerror(number)
    return f"{source_name(case.source)}: could not be written ({kind}); leave this output out for it"
