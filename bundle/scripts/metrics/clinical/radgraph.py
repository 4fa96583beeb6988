"""RadGraph F1 (Delbrouck et al., 2022; Jain et al., 2021): entities and relations of reports, compared as sets.

The model is the package ``radgraph``'s, where it and its weights are on the disk; nothing is downloaded. The comparison
is computed here from its annotations, in the three degrees of the publication: entities alone (*simple*), entities and
whether they have a relation (*partial*), entities with their relations (*complete*).
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from scripts.metrics.clinical.interface import OfChestFilms
from scripts.metrics.statistic import Statistic, mean_statistic

Annotation = Mapping[str, Any]
MODEL = "radgraph"
"""The model of the published score: chest radiograph reports only."""


class RadGraphF1(OfChestFilms):
    """RadGraph F1 over chest radiographs.

    Args:
        annotate: reports to annotations; the package's model by default.
    """

    name = "radgraph"

    def __init__(self, annotate: Callable[[Sequence[str]], list[Annotation]] | None = None) -> None:
        self.annotate = annotate

    def why_not(self) -> str | None:
        """What is missing: the package, or its weights."""
        if self.annotate is not None:
            return None
        if importlib.util.find_spec("radgraph") is None:
            return "it needs the package radgraph (0.1.18, MIT), in an environment that its requirements allow"
        folder = _weights()
        if not (folder / "weights.th").is_file():
            return f"it needs RadGraph's weights in {folder} (set RADGRAPH_WEIGHTS to the folder that holds {MODEL}/)"
        return None

    def score(self, predictions: Sequence[str], references: Sequence[str]) -> list[Statistic]:
        """The mean of each degree; a pair with an empty side scores 0."""
        annotate = self.annotate or _model()
        found = annotate([*predictions, *references])
        pairs = list(zip(found[: len(predictions)], found[len(predictions) :], strict=True))
        empty = [not p.strip() or not r.strip() for p, r in zip(predictions, references, strict=True)]
        scores = np.array([(0.0, 0.0, 0.0) if e else radgraph_f1(*pair) for e, pair in zip(empty, pairs, strict=True)])
        degrees = ("simple", "partial", "complete")
        return [mean_statistic(f"RadGraph F1, {name}", scores[:, n]) for n, name in enumerate(degrees)]


def radgraph_f1(hypothesis: Annotation, reference: Annotation) -> tuple[float, float, float]:
    """F1 of two annotations, ``{"entities": {id: {"tokens", "label", "relations"}}}``, in the three degrees."""
    simple, partial, complete = (_set_f1(of(hypothesis), of(reference)) for of in (_simple, _partial, _complete))
    return simple, partial, complete


def _set_f1(found: set[Any], true: set[Any]) -> float:
    return 2 * len(found & true) / (len(found) + len(true)) if found and true else 0.0


def _simple(report: Annotation) -> set[Any]:
    return {(entity["tokens"], entity["label"]) for entity in report["entities"].values()}


def _partial(report: Annotation) -> set[Any]:
    entities = report["entities"].values()
    return {(e["tokens"], e["label"], True) if e["relations"] else (e["tokens"], e["label"]) for e in entities}


def _complete(report: Annotation) -> set[Any]:
    entities = report["entities"]
    parts: set[Any] = set()
    for entity in entities.values():
        if not entity["relations"]:
            parts.add((entity["tokens"], entity["label"]))
        for kind, other in entity["relations"]:
            parts.add((entity["tokens"].lower(), entity["label"], kind, entities[other]["tokens"].lower()))
    return parts


def _weights() -> Path:
    """Folder of the model's files: RADGRAPH_WEIGHTS, or where the package keeps them."""
    given = os.environ.get("RADGRAPH_WEIGHTS")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return (Path(given) if given else cache / "radgraph" / version("radgraph")) / MODEL


def _model() -> Callable[[Sequence[str]], list[Annotation]]:
    from radgraph import RadGraph

    model = RadGraph(model_type=MODEL, model_cache_dir=str(_weights().parent))

    def annotate(reports: Sequence[str]) -> list[Annotation]:
        found = model(list(reports))
        return [found[str(number)] for number in range(len(reports))]

    return annotate
