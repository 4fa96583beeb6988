"""Data order: a function of seed and epoch, split over processes, resumable anywhere."""

from __future__ import annotations

import pytest
import torch

from scripts.data import EpochSampler
from scripts.errors import InputError


class Numbers(torch.utils.data.Dataset):
    def __init__(self, count: int) -> None:
        self.count, self.epoch = count, -1

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        return index

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch


def _order(sampler: EpochSampler, epoch: int) -> list[int]:
    sampler.set_epoch(epoch)
    return list(sampler)


def test_order_depends_on_seed_and_epoch_alone() -> None:
    data = Numbers(50)
    torch.manual_seed(1)
    first = _order(EpochSampler(data, seed=4), 3)
    torch.manual_seed(2)
    assert _order(EpochSampler(data, seed=4), 3) == first
    assert sorted(first) == list(range(50))
    assert _order(EpochSampler(data, seed=4), 2) != first
    assert _order(EpochSampler(data, seed=5), 2) != first  # seed and epoch do not add up
    assert data.epoch == 2
    assert _order(EpochSampler(data, shuffle=False), 3) == list(range(50))


def test_resuming_leaves_out_the_start_once() -> None:
    sampler = EpochSampler(Numbers(20), seed=1)
    whole = _order(sampler, 1)
    sampler.resume_at(8)
    assert len(sampler) == 20  # the length of the epoch stays
    assert list(sampler) == whole[8:]
    assert list(sampler) == whole


@pytest.mark.parametrize("count", [24, 25])
def test_processes_together_see_the_batches_of_one(count: int) -> None:
    data = Numbers(count)
    one = _order(EpochSampler(data, seed=1, drop_last=True), 1)
    two = [_order(EpochSampler(data, seed=1, drop_last=True, num_replicas=2, rank=rank), 1) for rank in (0, 1)]
    for step in range(3):
        together = {number for order in two for number in order[4 * step : 4 * step + 4]}
        assert together == set(one[8 * step : 8 * step + 8])


@pytest.mark.parametrize("count", [24, 22, 6])
def test_rows_of_all_processes_stand_in_the_order_of_one(count: int) -> None:
    """Hard negatives are drawn by position in the global batch, so positions must agree, in a short last step too."""
    data = Numbers(count)
    one = _order(EpochSampler(data, seed=1, batch_size=8), 1)
    two = [_order(EpochSampler(data, seed=1, batch_size=4, num_replicas=2, rank=rank), 1) for rank in (0, 1)]
    together = []
    for start in range(0, len(two[0]), 4):
        together += two[0][start : start + 4] + two[1][start : start + 4]
    assert together == one


def test_padding_for_training_and_none_for_validation() -> None:
    data = Numbers(7)
    padded = [_order(EpochSampler(data, num_replicas=3, rank=rank), 0) for rank in range(3)]
    assert [len(order) for order in padded] == [3, 3, 3]
    assert {number for order in padded for number in order} == set(range(7))
    exact = [EpochSampler(data, shuffle=False, pad=False, num_replicas=3, rank=rank) for rank in range(3)]
    assert sorted(number for sampler in exact for number in sampler) == list(range(7))
    assert [len(sampler) for sampler in exact] == [3, 2, 2]
    assert len(list(EpochSampler(Numbers(2), num_replicas=8, rank=7))) == 1


def test_no_case_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="no case to train on"):
        EpochSampler(Numbers(0))


def test_batches_hold_cases_of_similar_length_in_a_random_order() -> None:
    data = Numbers(403)
    lengths = torch.randint(5, 60, (403,), generator=torch.Generator().manual_seed(0)).tolist()
    grouped = _order(EpochSampler(data, seed=1, lengths=lengths, batch_size=8), 2)
    plain = _order(EpochSampler(data, seed=1), 2)
    assert sorted(grouped) == sorted(plain) == list(range(403))

    def padded(order: list[int]) -> int:
        batches = [[lengths[case] for case in order[start : start + 8]] for start in range(0, len(order), 8)]
        return sum(len(batch) * max(batch) for batch in batches)

    assert padded(grouped) < 1.1 * sum(lengths) < padded(plain)
    means = [sum(lengths[case] for case in grouped[start : start + 8]) / 8 for start in range(0, 400, 8)]
    rises = sum(after > before for before, after in zip(means, means[1:], strict=False))
    assert 15 < rises < 35  # not sorted over the epoch
    assert _order(EpochSampler(data, seed=1, lengths=lengths, batch_size=8), 3) != grouped


def test_grouped_processes_together_see_the_batches_of_one() -> None:
    data, lengths = Numbers(64), list(range(64))
    one = _order(EpochSampler(data, seed=1, lengths=lengths, batch_size=8), 1)
    shares = {"lengths": lengths, "batch_size": 4, "num_replicas": 2}
    two = [_order(EpochSampler(data, seed=1, rank=rank, **shares), 1) for rank in (0, 1)]
    for step in range(8):
        together = {number for order in two for number in order[4 * step : 4 * step + 4]}
        assert together == set(one[8 * step : 8 * step + 8])


def test_lengths_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="3 lengths were given for 4 cases"):
        EpochSampler(Numbers(4), lengths=[1, 2, 3])
