"""``captions.jsonl``: one line an image, written as captions are made, in place only when the run has ended."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.outputs.captioned_case import CaptionedCase
from scripts.outputs.delivery import Delivery
from scripts.outputs.record import caption_record, captioned_case, source_name

if TYPE_CHECKING:
    from ignite.engine import Engine
    from torch import Tensor

    from scripts.captioning import CaptionedBatch
    from scripts.confidence import ConfidenceRule

__all__ = ["CaptionWriter", "JsonLinesWriter"]


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

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one line; the first one starts the file anew."""
        mode = "a" if self.started else "w"
        self.started = True
        with self._unfinished.open(mode, encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")

    def finish(self) -> list[Path]:
        if not self.started:
            self._unfinished.write_text("", encoding="utf-8")
        os.replace(self._unfinished, self.path)
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
        rule: judges how sure each caption is.
        quiet: do not print captions.
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
    ) -> None:
        self.delivery = Delivery(output_dir, outputs=outputs, options=output_options)
        self.timings = JsonLinesWriter(output_dir=Path(output_dir), name="timings.jsonl")
        self.rule = rule
        self.provenance = dict(provenance or {})
        self.quiet = quiet
        self.records: list[Mapping[str, Any]] = []
        self.failed = 0

    def attach(self, engine: Engine) -> None:
        from ignite.engine import Events

        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.write)
        engine.add_event_handler(Events.COMPLETED, self.finish)

    def start(self, engine: Engine) -> None:
        self.delivery.begin()
        self.records, self.failed, self.delivery.failed = [], 0, 0
        self.timings.started = False

    def write(self, engine: Engine) -> None:
        """Deliver this batch's cases; readable images take the predictions in order."""
        made = (engine.state.output.get("pred") or {}).get("captioned")
        batch = engine.state.batch
        entries = _entries(batch)
        good = sum(entry["error"] is None for entry in entries)
        row = 0
        for entry in entries:
            case = self._case(entry, made, batch, row, good)
            row += entry["error"] is None
            case = self.delivery.deliver(case)
            self._report(case.record)
            self.records.append(case.record)

    def _case(
        self, entry: Mapping[str, Any], made: CaptionedBatch | None, batch: Mapping[str, Any], row: int, of: int
    ) -> CaptionedCase:
        source = entry["source"]
        if entry["error"] is not None:
            record = caption_record(
                source,
                caption=None,
                token_logprobs=None,
                meta=entry["meta"],
                error=entry["error"],
                provenance=self.provenance,
            )
            return CaptionedCase(source, record if self.rule is None else self.rule.apply(record), None, ())
        if made.seconds:
            share = {step: round(seconds / of, 4) for step, seconds in made.seconds.items()}
            read = {"read": round(batch["read_seconds"][row], 4)} if "read_seconds" in batch else {}
            self.timings.append({"image": source, "batch": of, "seconds": {**read, **share}})
        return captioned_case(
            source,
            _views(batch, row),
            made,
            meta=entry["meta"],
            row=row,
            of=of,
            provenance=self.provenance,
            rule=self.rule,
        )

    def _report(self, record: Mapping[str, Any]) -> None:
        self.failed += record["error"] is not None or bool(record.get("output_errors"))
        if record["error"] is not None:
            print(f"error: {record['error']}", file=sys.stderr)
        elif not self.quiet:
            name = Path(source_name(record["image"])).name
            print(f"{name}\n    {_said(record)}")

    def finish(self, engine: Engine) -> None:
        files = self.delivery.finish()
        if self.timings.started:
            self.timings.finish()
        if not self.quiet:
            withheld = sum(bool(record.get("withheld")) for record in self.records)
            done = sum(record["error"] is None for record in self.records) - withheld
            written = ", ".join(str(path) for path in files) or str(self.delivery.output_dir)
            besides = f", {withheld} withheld" if withheld else ""
            print(f"{done} of {len(self.records)} images captioned{besides}: {written}")

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
    sure = record.get("calibrated_confidence")
    likely = "" if sure is None else f", {sure:.0%} likely right"
    return f"{record['caption']}   (confidence {record['confidence']:.2f}{likely})"


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
