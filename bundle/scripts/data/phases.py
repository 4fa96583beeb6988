"""Mixed-semantic pre-training as a list of phases: general pairs first, medical pairs after, in one run.

A phase names its data, how many passes it makes over them and which branches learn in it. All phases share one
trainer, optimizer and schedule: the data set holds every phase's cases, a sampler draws only those of the running
phase, and a handler tells the network which branches learn.

Engines count in epochs of one fixed length. Here that is a *round*: as many cases as the smallest phase has. A phase
lasts as many whole rounds as come nearest to its passes, so with one phase a round is a pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from scripts.data.datalist import load_datalist
from scripts.data.epoch_sampler import EpochSampler, _mix
from scripts.data.json_lines import SequenceOfAll
from scripts.errors import InputError


@dataclass(frozen=True)
class Phase:
    """One phase: ``items`` of its datalist, ``epochs`` passes over them, ``branches`` that learn (None: all)."""

    name: str
    items: Sequence[dict[str, Any]]
    epochs: float
    branches: tuple[str, ...] | None


class Phases:
    """The phases of a run, in order.

    Args:
        phases: dictionaries with ``name``; ``epochs`` (0 skips the phase); and optionally ``datalist`` (file),
            ``dataset_dir``, ``section`` (``"training"``), ``branches`` (list of branch names that learn; all by
            default).
        datalist, dataset_dir: for phases that name none.

    Raises:
        InputError: no phase is left, a phase lacks a key, or its datalist is refused.
    """

    def __init__(self, phases: Sequence[dict[str, Any]], *, datalist: str, dataset_dir: str) -> None:
        self.phases = [
            _read_phase(number, phase, datalist, dataset_dir)
            for number, phase in enumerate(phases)
            if float(phase.get("epochs", 0)) > 0
        ]
        if not self.phases:
            raise InputError("pre-training has no phase with epochs above 0; give the list 'phases' at least one.")

    @property
    def items(self) -> Sequence[dict[str, Any]]:
        """Cases of all phases, one phase after the other."""
        return SequenceOfAll([phase.items for phase in self.phases])

    @property
    def round_length(self) -> int:
        """Cases of one engine epoch."""
        return min(len(phase.items) for phase in self.phases)

    @property
    def rounds(self) -> list[int]:
        """Engine epochs of each phase."""
        return [max(1, round(phase.epochs * len(phase.items) / self.round_length)) for phase in self.phases]

    @property
    def epochs(self) -> int:
        """Engine epochs of the whole run."""
        return sum(self.rounds)

    def at(self, epoch: int) -> tuple[int, int]:
        """Index of the phase that runs in engine epoch ``epoch`` (from 0), and the epoch counted within it."""
        for index, rounds in enumerate(self.rounds):
            if epoch < rounds or index == len(self.phases) - 1:
                return index, epoch
            epoch -= rounds
        raise AssertionError("there is always a last phase")

    def range_of(self, index: int) -> range:
        """Positions in :attr:`items` of the phase ``index``."""
        start = sum(len(phase.items) for phase in self.phases[:index])
        return range(start, start + len(self.phases[index].items))


def _read_phase(number: int, phase: dict[str, Any], datalist: str, dataset_dir: str) -> Phase:
    unknown = set(phase) - {"name", "epochs", "datalist", "dataset_dir", "section", "branches"}
    if unknown:
        raise InputError(f"phase {number} of pre-training has the unknown keys {sorted(unknown)}.")
    file = phase.get("datalist") or datalist
    folder = phase.get("dataset_dir") or (str(Path(file).parent) if phase.get("datalist") else dataset_dir)
    items = load_datalist(file, section=phase.get("section", "training"), dataset_dir=folder, require_caption=True)
    branches = phase.get("branches")
    return Phase(
        name=str(phase.get("name", f"phase {number + 1}")),
        items=items,
        epochs=float(phase["epochs"]),
        branches=None if branches is None else tuple(branches),
    )


class PhaseSampler(EpochSampler):
    """Draws the cases of the running phase: consecutive parts of shuffled passes over it, each of one round.

    Epochs count from 1 in ``set_epoch``, as MONAI's engines count them.

    Args:
        dataset: holds ``phases.items`` in order.
        phases: of the run.
        seed, num_replicas, rank: see :class:`EpochSampler`.
    """

    def __init__(self, dataset: Any, *, phases: Phases, seed: int = 0, **options: Any) -> None:
        super().__init__(dataset, shuffle=True, seed=seed, **options)
        self.phases = phases
        self.num_samples = -(-phases.round_length // self.num_replicas)

    def _order(self) -> list[int]:
        """The common order of all processes for this round."""
        index, position = self.phases.at(max(self.epoch, 1) - 1)
        cases = self.phases.range_of(index)
        count = self.num_samples * self.num_replicas
        start = position * count
        order: list[int] = []
        for passed in range(start // len(cases), (start + count - 1) // len(cases) + 1):
            generator = torch.Generator().manual_seed(_mix(self.seed, 1000 * index + passed))
            order += [cases[i] for i in torch.randperm(len(cases), generator=generator).tolist()]
        skipped = start % len(cases)
        return order[skipped : skipped + count]


class PhaseHandler:
    """Tell the network which branches learn, and the log which phase has begun.

    Args:
        phases: of the run.
        network: with ``learn(names)``.
    """

    def __init__(self, phases: Phases, network: Any) -> None:
        self.phases = phases
        self.network = getattr(network, "module", network)
        self._running = -1

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self._enter)

    def _enter(self, engine: Engine) -> None:
        index, _ = self.phases.at(engine.state.epoch - 1)
        if index == self._running:
            return
        self._running = index
        phase = self.phases.phases[index]
        branches = list(phase.branches) if phase.branches else None
        self.network.learn(branches)
        print(f"phase {phase.name!r}: {len(phase.items)} pairs, {phase.epochs:g} passes, branches {branches or 'all'}")
