"""``captions.jsonl``: one line an image, written as captions are made, in place only when the run has ended."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.atomic import flush_folder, remove_leftovers
from scripts.confidence import ConfidenceRule
from scripts.confidence.doubts import doubts_of
from scripts.data.record_lines import json_line
from scripts.errors import InputError
from scripts.folder_lock import FolderLock
from scripts.outputs.captioned_case import CaptionedCase
from scripts.outputs.delivery import Delivery
from scripts.outputs.record import caption_record, captioned_case, source_name
from scripts.outputs.run_identity import run_identity
from scripts.outputs.run_progress import Progress

if TYPE_CHECKING:
    from ignite.engine import Engine
    from torch import Tensor

    from scripts.captioning import CaptionedBatch


class JsonLinesWriter:
    """``captions.jsonl`` in ``output_dir``; see ``scripts.outputs.record`` for its keys."""

    def __init__(self, *, output_dir: Path, name: str = "captions.jsonl") -> None:
        self.path = Path(output_dir) / name
        self.started = False

    @property
    def _unfinished(self) -> Path:
        return self.path.with_name(f".{self.path.name}.unfinished")

    def add(self, case: CaptionedCase) -> list[Path]:
        self.append(case.record)
        return []

    def recall(self, case: CaptionedCase, note: None) -> None:
        """Write the line of a case of an interrupted run again."""
        self.append(case.record)

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one line; the first one starts the file anew."""
        mode = "a" if self.started else "w"
        self.started = True
        with self._unfinished.open(mode, encoding="utf-8") as file:
            file.write(json_line(record))

    def finish(self) -> list[Path]:
        with self._unfinished.open("a" if self.started else "w") as file:
            os.fsync(file.fileno())
        os.replace(self._unfinished, self.path)
        flush_folder(self.path.parent)
        self.started = False
        return [self.path]


class CaptionWriter:
    """Handler of an evaluator that prints each caption and gives each case to the outputs.

    Attach it to an engine whose batch has ``records`` and whose output is made by ``CaptionInferer``.

    Args:
        output_dir: folder of all outputs.
        provenance: see :func:`scripts.outputs.record.caption_record`.
        outputs: names from ``scripts.outputs.WRITERS``.
        output_options: of each output, by its name.
        rule: judges how sure each caption is; by default nothing is calibrated, and all is said that was written.
        quiet: do not print captions.
        resume: ``auto`` goes on where the same run (images, settings, weights) was killed, empty starts afresh. So does
            a data set without ``resume_at``, or an output without ``recall``.

    Raises:
        InputError: another ``resume``, or an output that cannot be written.
    """

    def __init__(
        self,
        output_dir: str | Path,
        *,
        provenance: Mapping[str, Any] | None = None,
        outputs: Sequence[str] = ("jsonl",),
        output_options: Mapping[str, Mapping[str, Any]] | None = None,
        rule: ConfidenceRule | None = None,
        quiet: bool = False,
        resume: str = "",
    ) -> None:
        if resume not in ("", "auto"):
            raise InputError(f"resume is 'auto' or '', not {resume!r}: captions go on from nothing else")
        self.resume = resume
        self.outputs = {name: dict((output_options or {}).get(name, {})) for name in outputs}
        self.progress = Progress(output_dir)
        self.lock = FolderLock(output_dir, "captions")
        self.delivery = Delivery(output_dir, outputs=outputs, options=output_options)
        self.timings = JsonLinesWriter(output_dir=Path(output_dir), name="timings.jsonl")
        self.rule = rule or ConfidenceRule(findings="always")
        self.provenance = dict(provenance or {})
        self.quiet = quiet
        self.cases = self.captioned = self.withheld = self.failed = 0

    def attach(self, engine: Engine) -> None:
        from ignite.engine import Events

        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.write)
        engine.add_event_handler(Events.COMPLETED, self.finish)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._after_failure)

    def start(self, engine: Engine) -> None:
        """Begin, or go on with the run that was interrupted.

        Raises:
            InputError: another run writes to the folder, or what an earlier one wrote cannot be removed.
        """
        self.lock.acquire()
        remove_leftovers(self.progress.path.parent)  # of a list that was being written anew when the run was killed
        self.cases = self.captioned = self.withheld = self.failed = self.delivery.failed = 0
        self.timings.started = False
        if not self._go_on(engine):
            self.delivery.begin()

    def _go_on(self, engine: Engine) -> bool:
        """Leave out what the interrupted run had done; False where nothing is."""
        loader = engine.state.dataloader
        dataset = getattr(loader, "dataset", None)
        if not (self.resume and self.delivery.resumable and hasattr(dataset, "resume_at")):
            self.progress.end()
            return False
        dataset.resume_at(0)
        parts = {"inferer": getattr(engine, "inferer", None), "outputs": self.outputs, "rule": self.rule}
        identity, earlier = run_identity(loader, provenance=self.provenance, **parts), self.progress.identity()
        done = self.progress.take_up(loader.batch_size, len(dataset)) if earlier == identity else 0
        if not done:
            if earlier not in (None, identity):
                changed = [name for name in identity if earlier.get(name) != identity[name]]
                print(f"note: {self.delivery.output_dir} holds a part of a run with other {', '.join(changed)}: "
                      "this one starts afresh", file=sys.stderr)  # fmt: skip
            self.progress.begin(identity)
            return False
        self.delivery.take_up()
        for line in self.progress.cases():
            self._recall(line)
        print(f"going on after {done} of {len(dataset)} images, which an interrupted run has done", file=sys.stderr)
        dataset.resume_at(done)
        engine.state.epoch_length = len(loader)
        return True

    def _recall(self, line: Mapping[str, Any]) -> None:
        case = CaptionedCase(line["source"], line["record"], None, ())
        self.delivery.recall(case, line["notes"])
        self._count(case.record)
        if line["timing"] is not None:
            self.timings.append(line["timing"])

    def _after_failure(self, _: Engine, error: BaseException) -> None:
        self.lock.release()
        raise error

    def write(self, engine: Engine) -> None:
        """Deliver the cases of an engine's batch."""
        self.add(engine.state.batch, (engine.state.output.get("pred") or {}).get("captioned"))

    def add(self, batch: Mapping[str, Any], made: CaptionedBatch | None) -> None:
        """Deliver a batch's cases; readable images take the captions in order."""
        entries = _entries(batch)
        good = sum(entry["error"] is None for entry in entries)
        row, lines = 0, []
        for entry in entries:
            case = self._case(entry, made, batch, row, good)
            timing = self._timing(entry, made, batch, row, good)
            row += entry["error"] is None
            case = self.delivery.deliver(case)
            self._count(case.record)
            self._report(case.record)
            notes = self.delivery.notes_of(case)
            lines.append({"source": case.source, "record": case.record, "notes": notes, "timing": timing})
        self.progress.add(lines)

    def _case(
        self, entry: Mapping[str, Any], made: CaptionedBatch | None, batch: Mapping[str, Any], row: int, of: int
    ) -> CaptionedCase:
        source, known = entry["source"], {"meta": entry["meta"], "provenance": self.provenance}
        if entry["error"] is not None:
            record = caption_record(source, error=entry["error"], **known)
            return CaptionedCase(source, self.rule.apply(record), None, ())
        return captioned_case(source, _views(batch, row), made, row=row, of=of, rule=self.rule, **known)

    def _timing(
        self, entry: Mapping[str, Any], made: CaptionedBatch | None, batch: Mapping[str, Any], row: int, of: int
    ) -> dict[str, Any] | None:
        """Write the seconds that a case took, step by step; returns the line."""
        if entry["error"] is not None or not made.seconds:
            return None
        share = {step: round(seconds / of, 4) for step, seconds in made.seconds.items()}
        read = {"read": round(batch["read_seconds"][row], 4)} if "read_seconds" in batch else {}
        line = {"image": entry["source"], "batch": of, "seconds": {**read, **share}}
        self.timings.append(line)
        return line

    def _count(self, record: Mapping[str, Any]) -> None:
        self.cases += 1
        self.withheld += bool(record.get("withheld"))
        self.captioned += record["error"] is None and not record.get("withheld")
        self.failed += record["error"] is not None or bool(record.get("output_errors"))

    def _report(self, record: Mapping[str, Any]) -> None:
        if record["error"] is not None:
            print(f"error: {record['error']}", file=sys.stderr)
        elif not self.quiet:
            name = Path(source_name(record["image"])).name
            print(f"{name}\n    {_said(record)}")

    def finish(self, engine: Engine | None = None) -> None:
        files = self.delivery.finish()
        if self.timings.started:
            self.timings.finish()
        self.progress.end()
        self.lock.release()
        if not self.quiet:
            written = ", ".join(str(path) for path in files) or str(self.delivery.output_dir)
            besides = f", {self.withheld} withheld" if self.withheld else ""
            print(f"{self.captioned} of {self.cases} images captioned{besides}: {written}")

    def exit(self) -> None:
        """End the process with code 1 if any image could not be captioned or written; call it last.

        Raises:
            SystemExit: with code 1.
        """
        if self.failed:
            raise SystemExit(1)


def _said(record: Mapping[str, Any]) -> str:
    """The caption and how sure it is, or why there is none."""
    if record.get("withheld"):
        return f"withheld: {record['withheld']}"
    return f"{record['caption']}   ({doubts_of(record).text})"


def _entries(batch: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Source, meta and error of each case; a training data set's batches hold readable cases only."""
    if "records" in batch:
        return batch["records"]
    return [{"source": path, "meta": None, "error": None} for path in batch["image_path"]]


def _views(batch: Mapping[str, Any], row: int) -> Tensor | None:
    """The views ``[V, 3, S, S]`` of one case of a batch, padding dropped; None where tokens came from a cache."""
    if batch.get("image") is None:
        return None
    image = batch["image"][row]
    if image.ndim == 3:
        return image[None]
    mask = batch.get("image_mask")
    return image if mask is None else image[mask[row].bool()]
