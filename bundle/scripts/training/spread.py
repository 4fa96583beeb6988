"""Spread of stage 1's vectors: a contrast between images, queries and texts that are all alike teaches nothing.

Shape legend: B cases of a batch, N of a validation, Q queries, H Q-Former width, E embedding width.
"""

from __future__ import annotations

import logging

import torch
import torch.distributed as dist
from ignite.engine import Engine, Events
from torch import Tensor

from scripts.distributed import collective_device, rank, world_size

logger = logging.getLogger(__name__)
_TEXTS_ALIKE = 0.95  # mean cosine between captions
_IMAGES_ALIKE = 0.05  # share of the energy of query states that differs between images


class VectorSpread:
    """Handler of a stage-1 evaluator whose network output comes from ``PretrainingNetwork.score_pairs``.

    Adds to the evaluator's metrics, per branch, with ``z_nq`` the state of query q for image n:

    * ``general_images_spread``: ``sum |z_nq - mean_n z_nq|^2 / sum |z_nq|^2``; 0 where all images look alike;
    * ``general_queries_spread``: ``sum |z_nq - mean_q z_nq|^2 / sum |z_nq|^2``; 0 where an image's queries all say one
      thing;
    * ``general_text_cosine``: mean cosine of ITC's vectors of two captions; 1 where all captions look alike;
    * ``general_temperature``: of ITC.

    A branch to which all captions or all images look alike is reported in one sentence. Sums are kept, not vectors: the
    memory needed does not grow with the validation.
    """

    def __init__(self) -> None:
        self._sums: dict[str, dict[str, Tensor]] = {}

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._measure)

    def _begin(self, _: Engine) -> None:
        self._sums = {}

    def _collect(self, engine: Engine) -> None:
        scored = engine.state.output["pred"]
        for name in [key.removesuffix("_queries") for key in scored if key.endswith("_queries")]:
            sums = batch_sums(scored[f"{name}_queries"], scored[f"{name}_texts"])
            sums["temperature"] = scored[f"{name}_temperature"].detach().double().cpu() * sums["count"]
            before = self._sums.get(name)
            self._sums[name] = sums if before is None else {key: before[key] + value for key, value in sums.items()}

    def _measure(self, engine: Engine) -> None:
        for name, sums in self._sums.items():
            measured = spread(_of_all_processes(sums))
            engine.state.metrics.update({f"{name}_{key}": value for key, value in measured.items()})
            if rank() == 0:
                for sentence in warnings_of(name, measured):
                    logger.warning(sentence)
        self._begin(engine)


def batch_sums(queries: Tensor, texts: Tensor) -> dict[str, Tensor]:
    """What :func:`spread` needs of B cases: query states ``[B, Q, H]`` and unit vectors of captions ``[B, E]``."""
    queries, texts = queries.detach().double().cpu(), texts.detach().double().cpu()
    return {
        "count": torch.tensor(float(len(queries)), dtype=torch.float64),
        "energy": queries.square().sum(),
        "of_images": queries.sum(dim=0),
        "of_queries": (queries - queries.mean(dim=1, keepdim=True)).square().sum(),
        "texts": texts.sum(dim=0),
    }


def spread(sums: dict[str, Tensor]) -> dict[str, float]:
    """The metrics of :class:`VectorSpread`; those between cases only where there are two."""
    count, energy = float(sums["count"]), float(sums["energy"])
    measured = {"queries_spread": float(sums["of_queries"]) / energy, "temperature": float(sums["temperature"]) / count}
    if count > 1:
        measured["images_spread"] = 1 - float(sums["of_images"].square().sum()) / (count * energy)
        measured["text_cosine"] = (float(sums["texts"].square().sum()) - count) / (count * (count - 1))
    return measured


def warnings_of(branch: str, measured: dict[str, float]) -> list[str]:
    """One sentence for each thing that all cases have in common, with what to look at."""
    found = []
    if measured.get("text_cosine", 0.0) > _TEXTS_ALIKE:
        found.append(
            f"all captions look alike to the {branch} branch (mean cosine {measured['text_cosine']:.4f}), so contrast "
            "has nothing to point at: look at qformer_start, itc_text_pool and learning_rate."
        )
    if measured.get("images_spread", 1.0) < _IMAGES_ALIKE:
        found.append(
            f"all images look alike to the {branch} branch (they make {measured['images_spread']:.1%} of what its "
            f"queries say): look at wide_cross_attention, {branch}_token_norm and learning_rate."
        )
    return found


def _of_all_processes(sums: dict[str, Tensor]) -> dict[str, Tensor]:
    if world_size() == 1:
        return sums
    result = {}
    for key, value in sums.items():
        total = value.to(collective_device())
        dist.all_reduce(total)
        result[key] = total.cpu()
    return result
