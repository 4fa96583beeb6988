"""The Ignite metric: a number to select by, the other scores beside it, the same on one process and on two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from caption_pairs import generated
from ignite.engine import Engine
from ignite.exceptions import NotComputableError

from scripts.errors import InputError
from scripts.metrics import CaptionMetrics, caption_scores

PAIRS = generated(21, seed=4)

_WORKER = """
import json, sys
sys.path[:0] = {paths!r}
import ignite.distributed as idist
from caption_pairs import generated
from scripts.metrics import CaptionMetrics

pairs = generated(21, seed=4)
with idist.Parallel(backend="gloo") as parallel:
    def work(rank):
        mine = list(range(rank, 21, 2)) + ([0] if rank else [])   # the sampler repeats image 0 to fill up
        metric = CaptionMetrics()
        metric.update(([pairs[i][0] for i in mine], [pairs[i][1] for i in mine], [str(i) for i in mine]))
        scores = metric.compute()
        if rank == 0:
            print(json.dumps(scores))
    parallel.run(work)
"""


def _fill(metric: CaptionMetrics, size: int) -> None:
    for start in range(0, len(PAIRS), size):
        batch = PAIRS[start : start + size]
        metric.update(([c for c, _ in batch], [r for _, r in batch], [str(start + i) for i in range(len(batch))]))


def test_batches_do_not_matter_and_repeated_images_count_once() -> None:
    whole, parts = CaptionMetrics(), CaptionMetrics()
    _fill(whole, 21)
    _fill(parts, 4)
    _fill(parts, 7)
    expected = caption_scores([c for c, _ in PAIRS], [r for _, r in PAIRS])
    assert whole.compute() == pytest.approx(expected, nan_ok=True)
    assert parts.compute() == pytest.approx(expected, nan_ok=True)


def test_key_score_stands_under_the_name_in_an_engine() -> None:
    metric = CaptionMetrics(
        key="field mean", output_transform=lambda o: {"predictions": o["pred"], "references": o["caption"]}
    )
    engine = Engine(lambda _, batch: batch)
    metric.attach(engine, "val")
    state = engine.run([{"pred": ["Axial CT of the head."], "caption": ["Axial CT of the chest."]}] * 3)
    assert state.metrics["val"] == pytest.approx(2 / 3)
    assert state.metrics["organ"] == 0.0 and "CIDEr-D" in state.metrics


def test_captions_of_an_evaluator_are_scored_against_its_batch() -> None:
    metric = CaptionMetrics(key="organ")
    engine = Engine(lambda _, batch: {"pred": batch.get("made", {})})
    metric.attach(engine, "val")
    batch = {"caption": ["Axial CT of the chest."], "image_path": ["a.png"]}
    assert (
        engine.run([batch | {"made": {"captioned": SimpleNamespace(captions=["Axial CT of the chest."])}}]).metrics[
            "val"
        ]
        == 1.0
    )
    with pytest.raises(InputError, match="this validation makes none: see configs/best_caption.json"):
        engine.run([batch])


def test_two_processes_give_the_scores_of_one(tmp_path: Path) -> None:
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "bundle")]
    script = tmp_path / "worker.py"
    script.write_text(_WORKER.format(paths=paths))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment)
    assert run.returncode == 0, run.stderr[-2000:]
    scores = json.loads(next(line for line in run.stdout.splitlines() if line.startswith("{")))
    expected = caption_scores([c for c, _ in PAIRS], [r for _, r in PAIRS])
    assert scores == pytest.approx(expected, nan_ok=True)


def test_wrong_use_is_named() -> None:
    with pytest.raises(InputError, match="no caption score is called 'BLEU5'"):
        CaptionMetrics(key="BLEU5")
    with pytest.raises(NotComputableError, match="no captions"):
        CaptionMetrics().compute()
    with pytest.raises(InputError, match="2 predictions, 1 references"):
        CaptionMetrics().update((["a", "b"], ["a"]))
