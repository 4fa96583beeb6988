"""``captions.jsonl``: one line an image, written as captions are made, in place only when the run has ended."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

__all__ = ["CaptionWriter", "caption_record"]


def caption_record(
    source: str | list[str],
    *,
    caption: str | None,
    token_logprobs: list[float] | None,
    meta: Mapping[str, Any] | None,
    error: str | None,
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    """One line of ``captions.jsonl``.

    ``confidence`` is the geometric mean of the caption's token probabilities, ``exp(mean(log p))``, in (0, 1].

    Args:
        source: the path or paths as the user gave them.
        caption: the text, or None where the image could not be captioned.
        token_logprobs: natural logarithm of the probability of each generated token, the end token included.
        meta: what the reader and the window did.
        error: why there is no caption.
        provenance: ``model_version``, ``weights`` and the run's part of ``trace``.
    """
    meta = dict(meta or {})
    mean = sum(token_logprobs) / len(token_logprobs) if token_logprobs else None
    return {
        "image": source,
        "caption": caption,
        "confidence": None if mean is None else round(math.exp(mean), 6),
        "token_logprobs": None if token_logprobs is None else [round(value, 5) for value in token_logprobs],
        "modality": meta.get("modality") or None,
        "window": meta.get("window"),
        "slice": meta.get("slice"),
        "model_version": provenance.get("model_version"),
        "weights": provenance.get("weights"),
        "trace": {"input": meta, **provenance.get("trace", {})},
        "error": error,
    }


class CaptionWriter:
    """Handler of an evaluator that writes ``captions.jsonl`` and prints each caption.

    Attach it to an engine whose batch has ``records`` and whose output has ``pred`` as made by ``CaptionInferer``.

    Args:
        output_dir: folder of ``captions.jsonl``.
        provenance: see :func:`caption_record`.
        quiet: do not print captions.
    """

    def __init__(
        self, output_dir: str | Path, *, provenance: Mapping[str, Any] | None = None, quiet: bool = False
    ) -> None:
        self.path = Path(output_dir) / "captions.jsonl"
        self.provenance = dict(provenance or {})
        self.quiet = quiet
        self.records: list[dict[str, Any]] = []
        self.failed = 0

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.write)
        engine.add_event_handler(Events.COMPLETED, self.finish)

    @property
    def _unfinished(self) -> Path:
        return self.path.with_name(f".{self.path.name}.unfinished")

    def start(self, engine: Engine) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.records, self.failed = [], 0
        self._unfinished.write_text("", encoding="utf-8")

    def write(self, engine: Engine) -> None:
        """Append this batch's lines; readable images take the predictions in order."""
        output = engine.state.output.get("pred") or {}
        row = 0
        with self._unfinished.open("a", encoding="utf-8") as file:
            for entry in _entries(engine.state.batch):
                caption = logprobs = None
                if entry["error"] is None:
                    length = int(output["lengths"][row])
                    caption = output["captions"][row]
                    logprobs = output["token_logprobs"][row, :length].float().tolist()
                    row += 1
                record = caption_record(
                    entry["source"],
                    caption=caption,
                    token_logprobs=logprobs,
                    meta=entry["meta"],
                    error=entry["error"],
                    provenance=self.provenance,
                )
                self._report(record)
                self.records.append(record)
                file.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")

    def _report(self, record: Mapping[str, Any]) -> None:
        self.failed += record["error"] is not None
        if record["error"] is not None:
            print(f"error: {record['error']}", file=sys.stderr)
        elif not self.quiet:
            name = record["image"] if isinstance(record["image"], str) else record["image"][0]
            print(f"{Path(name).name}\n    {record['caption']}   (confidence {record['confidence']:.2f})")

    def finish(self, engine: Engine) -> None:
        os.replace(self._unfinished, self.path)
        if not self.quiet:
            done = len(self.records) - self.failed
            print(f"{done} of {len(self.records)} images captioned: {self.path}")

    def exit(self) -> None:
        """End the process with code 1 if any image could not be captioned; call it last.

        Raises:
            SystemExit: with code 1.
        """
        if self.failed:
            raise SystemExit(1)


def _entries(batch: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Source, meta and error of each case; a training data set's batches hold readable cases only."""
    if "records" in batch:
        return batch["records"]
    return [{"source": path, "meta": None, "error": None} for path in batch["image_path"]]
