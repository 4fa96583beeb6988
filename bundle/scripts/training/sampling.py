"""Data order that is a function of seed and epoch, and that can be taken up in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sized

import numpy as np
import torch
from torch.utils.data import DistributedSampler

from .. import distributed
from ..errors import InputError


class EpochSampler(DistributedSampler):
    """Shuffles by (seed, epoch), splits over processes, resumes anywhere.

    It is a ``DistributedSampler`` also on one process: MONAI's engines then call ``set_epoch`` when an epoch starts.
    Rank r of W takes the cases r, r + W, ... of the common order, so W processes with batch size B see in each step
    the same cases as one process with batch size W * B.

    Args:
        dataset: what is sampled; its ``set_epoch`` is called too, where it has one.
        shuffle: False keeps the order of the data set (validation).
        seed: start of the order, the same on all processes.
        drop_last: drop the cases beyond a multiple of W.
        pad: without ``drop_last``, repeat cases so that all processes have as many (needed for training). False
            gives each case exactly once, and processes may differ by one (validation).
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
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        num_replicas = num_replicas or distributed.world_size()
        rank = distributed.rank() if rank is None else rank
        super().__init__(dataset, num_replicas=num_replicas, rank=rank, shuffle=shuffle, seed=seed, drop_last=drop_last)
        if len(dataset) == 0:
            raise InputError("there is no case to train on; check the datalist section.")
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
        return iter(order[self.rank :: self.num_replicas][start:])

    def _order(self) -> list[int]:
        """The common order of all processes for this epoch."""
        count = len(self.dataset)
        if self.shuffle:
            generator = torch.Generator().manual_seed(_mix(self.seed, self.epoch))
            order = torch.randperm(count, generator=generator).tolist()
        else:
            order = list(range(count))
        even = self.num_samples * self.num_replicas
        if self.drop_last:
            return order[:even]
        if self.pad:
            return (order * (even // count + 1))[:even]
        return order


def _mix(seed: int, epoch: int) -> int:
    """One number from two, so that seed 1 in epoch 0 is not seed 0 in epoch 1."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
