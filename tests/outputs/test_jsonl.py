"""captions.jsonl: complete lines, right order, nothing half-written."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from ignite.engine import Engine
from made_batch import captioned

from scripts.outputs.jsonl import CaptionWriter
from scripts.reading.image_meta import ImageMeta


def run(writer: CaptionWriter, batches: list[dict]) -> None:
    def step(engine: Engine, batch: dict) -> dict:
        good = [record for record in batch["records"] if record["error"] is None]
        if not good:
            return {"pred": {}}
        made = captioned([f"caption of {record['source']}" for record in good], ["caption", ""])
        return {"pred": {"captioned": made}}

    engine = Engine(step)
    writer.attach(engine)
    engine.run(batches, max_epochs=1)


def record(source: str, error: str | None = None) -> dict:
    return {"source": source, "meta": ImageMeta(({"modality": "CT", "slice": 3, "window": "lung"},)), "error": error}


def test_lines_follow_the_input_and_failures_do_not_shift_captions(tmp_path: Path) -> None:
    writer = CaptionWriter(tmp_path, provenance={"model_version": "1.2.3", "weights": {"a": "b"}}, quiet=True)
    batches = [{"records": [record("a"), record("b", "b: broken."), record("c")]}, {"records": [record("d", "d: no.")]}]
    run(writer, batches)
    lines = [json.loads(line) for line in (tmp_path / "captions.jsonl").read_text().splitlines()]
    assert [line["caption"] for line in lines] == ["caption of a", None, "caption of c", None]
    assert [line["error"] for line in lines] == [None, "b: broken.", None, "d: no."]
    assert lines[0]["token_confidence"] == pytest.approx(math.exp(-1.0), abs=1e-6)
    assert lines[0]["token_logprobs"] == [-0.5, -1.5]
    assert lines[0]["modality"] == "CT" and lines[0]["slice"] == 3 and lines[0]["model_version"] == "1.2.3"
    with pytest.raises(SystemExit) as ended:
        writer.exit()
    assert ended.value.code == 1


def test_a_run_without_failures_exits_quietly_and_leaves_one_file(tmp_path: Path) -> None:
    writer = CaptionWriter(tmp_path, quiet=True)
    run(writer, [{"records": [record("a")]}])
    writer.exit()
    assert [path.name for path in tmp_path.iterdir()] == ["captions.jsonl"]
