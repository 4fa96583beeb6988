"""Retrieval in validation: recall at K both ways, and image-text matching accuracy.

Shape legend: N cases, Q queries, E embedding width.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from torch import Tensor

from scripts.atomic import write_text_atomically
from scripts.distributed import gather_objects, rank
from scripts.metrics.retrieval import recall_at, same_caption
from scripts.networks.losses import ImageTextContrast
from scripts.training.batches import scalars

_ROWS = 256  # images whose similarities to all captions exist query by query at a time


class RetrievalRecall:
    """Handler of a stage-1 evaluator whose network output comes from ``PretrainingNetwork.score_pairs``.

    Adds to the evaluator's metrics, per branch: ``general_i2t_recall@1`` (share of images whose own caption, or an
    equal one, is first among all captions of the section), ``general_t2i_recall@1`` (the reverse), and
    ``general_itm_accuracy`` (right pairs accepted and hard wrong ones refused, each half). Ties count against the
    model. All processes get the same numbers.

    Args:
        ranks: the K of recall at K.
    """

    def __init__(self, *, ranks: Sequence[int] = (1, 5)) -> None:
        self.ranks = tuple(ranks)
        self._parts: dict[str, list[Tensor]] = {}
        self._cases: list[tuple[str, str]] = []

    def attach(self, engine: Any) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._measure)

    def _begin(self, _: Any) -> None:
        self._parts, self._cases = {}, []

    def _collect(self, engine: Any) -> None:
        batch = engine.state.batch
        self._cases += [(str(image), text) for image, text in zip(batch["image_path"], batch["caption"], strict=True)]
        for name, value in engine.state.output["pred"].items():
            if name.endswith(("_images", "_texts", "_matches")):
                self._parts.setdefault(name, []).append(value.detach().float().cpu())

    def _measure(self, engine: Any) -> None:
        parts = {name: torch.cat(values) for name, values in self._parts.items()}
        cases, parts = _join(self._cases, parts)
        for name in [key.removesuffix("_images") for key in parts if key.endswith("_images")]:
            vectors = (parts[f"{name}_images"], parts[f"{name}_texts"])
            metrics = recalls(*vectors, captions=[caption for _, caption in cases], ranks=self.ranks)
            metrics["itm_accuracy"] = matching_accuracy(parts[f"{name}_matches"])
            engine.state.metrics.update({f"{name}_{key}": value for key, value in metrics.items()})
        self._begin(engine)


def recalls(images: Tensor, texts: Tensor, *, captions: Sequence[str], ranks: Sequence[int]) -> dict[str, float]:
    """``i2t_recall@K`` and ``t2i_recall@K`` of unit vectors ``[N, Q, E]`` and ``[N, E]``."""
    similarity = torch.cat([ImageTextContrast.similarity(rows, texts) for rows in images.split(_ROWS)])
    statistics = recall_at(similarity.numpy(), same_caption(captions, captions), ranks)
    names = [f"{direction}_recall@{k}" for direction in ("i2t", "t2i") for k in ranks]
    return {name: float(statistic.value) for name, statistic in zip(names, statistics, strict=True)}


def matching_accuracy(probability: Tensor) -> float:
    """Balanced accuracy of ITM from ``[N, 3]``: right pair, wrong image, wrong text; NaN where none was wrong."""
    accepted = (probability[:, 0] >= 0.5).float().mean()
    wrong = probability[:, 1:].flatten()
    wrong = wrong[~wrong.isnan()]
    return float((accepted + (wrong < 0.5).float().mean()) / 2) if len(wrong) else float(accepted)


def report_retrieval(evaluator: Any, output_dir: str | Path) -> dict[str, float]:
    """Print what an evaluator measured and keep it as ``retrieval.json``."""
    metrics = scalars(evaluator.state.metrics)
    if rank() == 0:
        for name, value in metrics.items():
            print(f"{name:<28}{value:8.4f}")
        write_text_atomically(Path(output_dir) / "retrieval.json", json.dumps(metrics, indent=1))
    return metrics


def _join(cases: list[tuple[str, str]], parts: dict[str, Tensor]) -> tuple[list[tuple[str, str]], dict[str, Tensor]]:
    """Those of all processes, in one order everywhere, cases that pad the last batches once."""
    gathered = gather_objects((cases, parts))
    cases = [case for own, _ in gathered for case in own]
    parts = {name: torch.cat([own[name] for _, own in gathered]) for name in parts}
    first = {case: index for index, case in reversed(list(enumerate(cases)))}
    rows = [first[case] for case in sorted(first)]
    return [cases[row] for row in rows], {name: value[rows] for name, value in parts.items()}
