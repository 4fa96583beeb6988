"""The Ignite metric: a number to select by, the other scores beside it, the same on one process and on two."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch.distributed as dist
from caption_pairs import generated
from ignite.engine import Engine
from ignite.exceptions import NotComputableError

from child_process import Child
from scripts.errors import InputError
from scripts.metrics import CaptionMetrics, caption_scores

PAIRS = generated(21, seed=4)


def one_of_two(folder: Path, rank: int) -> None:
    """In a process of its own: every other pair; the sampler repeats image 0 to fill up."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    mine = list(range(rank, 21, 2)) + ([0] if rank else [])
    metric = CaptionMetrics()
    metric.update(([PAIRS[i][0] for i in mine], [PAIRS[i][1] for i in mine], [str(i) for i in mine]))
    (folder / f"{rank}.json").write_text(json.dumps(metric.compute()))
    dist.barrier()
    dist.destroy_process_group()


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
    children = [Child(tmp_path, one_of_two, tmp_path, rank) for rank in range(2)]
    codes = [child.end() for child in children]
    assert codes == [0, 0], "\n".join(child.log.read_text() for child in children)
    scores, others = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    expected = caption_scores([c for c, _ in PAIRS], [r for _, r in PAIRS])
    assert scores == pytest.approx(expected, nan_ok=True) and others == pytest.approx(scores, nan_ok=True)


def test_wrong_use_is_named() -> None:
    with pytest.raises(InputError, match="no caption score is called 'BLEU5'"):
        CaptionMetrics(key="BLEU5")
    with pytest.raises(NotComputableError, match="no captions"):
        CaptionMetrics().compute()
    with pytest.raises(InputError, match="2 predictions, 1 references"):
        CaptionMetrics().update((["a", "b"], ["a"]))
