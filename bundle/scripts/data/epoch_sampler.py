"""Data order that is a function of seed and epoch, and that can be taken up in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized

import numpy as np
import torch
from torch.utils.data import DistributedSampler

from scripts import distributed
from scripts.errors import InputError

STRETCH = 16  # batches whose cases are sorted together


class EpochSampler(DistributedSampler):
    """Shuffles by (seed, epoch), splits over processes, resumes anywhere.

    It is a ``DistributedSampler`` also on one process: MONAI's engines then call ``set_epoch`` when an epoch starts.
    Each W * B cases of the common order are one step's; process r of W takes the r-th B of them. So W processes with
    batch size B see in each step what one process with batch size W * B sees, in the same order.

    Args:
        dataset: what is sampled; its ``set_epoch`` is called too, where it has one.
        shuffle: False keeps the order of the data set (validation).
        seed: start of the order, the same on all processes.
        drop_last: drop the cases beyond a multiple of W.
        pad: without ``drop_last``, repeat cases so that all processes have as many (needed for training). False
            gives each case exactly once, and processes may differ by one (validation).
        lengths: of each case's text. Batches then hold cases of similar length, so that little is padded, in an order
            that stays random: of every 16 batches' worth of shuffled cases, neighbours in length share a batch.
        batch_size: B, cases in a batch of one process.
        num_replicas, rank: W and r; taken from ``torch.distributed``, or 1 and 0.
    """

    def __init__(
        self,
        dataset: Sized,
        *,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        pad: bool = True,
        lengths: Sequence[int] | None = None,
        batch_size: int = 1,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        num_replicas = num_replicas or distributed.world_size()
        rank = distributed.rank() if rank is None else rank
        super().__init__(dataset, num_replicas=num_replicas, rank=rank, shuffle=shuffle, seed=seed, drop_last=drop_last)
        if len(dataset) == 0:
            raise InputError("there is no case to train on; check the datalist section.")
        if lengths is not None and len(lengths) != len(dataset):
            raise InputError(f"{len(lengths)} lengths were given for {len(dataset)} cases.")
        self.lengths = lengths
        self.batch_size = batch_size
        self.pad = pad
        self._start = 0
        if not pad and not drop_last:
            self.num_samples = len(range(rank, len(dataset), num_replicas))

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass."""
        super().set_epoch(epoch)
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(epoch)

    def resume_at(self, samples: int) -> None:
        """Leave out the first ``samples`` of this process's cases in the next pass, and only in that."""
        self._start = samples

    def __iter__(self) -> Iterator[int]:
        order = self._order()
        start, self._start = self._start, 0
        return iter(self._own(order)[start:])

    def _own(self, order: list[int]) -> list[int]:
        """This process's cases: of every step's cases the r-th block, so that rows of all processes stand in order."""
        step = self.batch_size * self.num_replicas
        own = []
        for first in range(0, len(order), step):
            cases = order[first : first + step]
            size, left = divmod(len(cases), self.num_replicas)
            own += cases[self.rank :: self.num_replicas] if left else cases[self.rank * size : (self.rank + 1) * size]
        return own

    def _order(self) -> list[int]:
        """The common order of all processes for this epoch."""
        count = len(self.dataset)
        if self.shuffle:
            generator = torch.Generator().manual_seed(_mix(self.seed, self.epoch))
            order = torch.randperm(count, generator=generator).tolist()
            if self.lengths is not None:
                order = self._grouped(order, generator)
        else:
            order = list(range(count))
        even = self.num_samples * self.num_replicas
        if self.drop_last:
            return order[:even]
        if self.pad:
            return (order * (even // count + 1))[:even]
        return order

    def _grouped(self, order: list[int], generator: torch.Generator) -> list[int]:
        """Sort stretches of the order by length, cut them into steps' cases, shuffle the steps."""
        step = self.batch_size * self.num_replicas
        stretch = STRETCH * step
        sorted_order = [
            case
            for start in range(0, len(order), stretch)
            for case in sorted(order[start : start + stretch], key=self.lengths.__getitem__)
        ]
        steps = [sorted_order[start : start + step] for start in range(0, len(order), step)]
        last = [steps.pop()] if len(steps[-1]) < step else []  # a short step stays at the end
        shuffled = torch.randperm(len(steps), generator=generator).tolist()
        return [case for number in shuffled for case in steps[number]] + [case for cases in last for case in cases]


def _mix(seed: int, epoch: int) -> int:
    """One number from two, so that seed 1 in epoch 0 is not seed 0 in epoch 1."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
