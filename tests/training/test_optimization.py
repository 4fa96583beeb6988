"""Optimizer groups and the schedule, against formulas and PyTorch's own."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from scripts.errors import InputError
from scripts.training import WarmupCosine, adamw


def _network() -> nn.Module:
    network = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), nn.Linear(3, 3))
    network[2].requires_grad_(False)
    return network


def test_decay_is_for_trained_matrices_only() -> None:
    network = _network()
    optimizer = adamw(network, learning_rate=1e-3, weight_decay=0.1)
    decayed, kept = optimizer.param_groups
    assert [p is network[0].weight for p in decayed["params"]] == [True]
    assert {id(p) for p in kept["params"]} == {id(network[0].bias), id(network[1].weight), id(network[1].bias)}
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.1, 0.0)
    with pytest.raises(InputError, match="unfreeze a branch"):
        adamw(network.requires_grad_(False))


def test_named_parameters_learn_at_a_part_of_the_rate() -> None:
    network = nn.ModuleDict({"qformer": nn.Linear(3, 3), "projection": nn.Linear(3, 3)})
    optimizer = adamw(network, learning_rate=1e-2, weight_decay=0.1, rate_ratios={"qformer.*": 0.2})
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert [rates[id(p)] for p in network["qformer"].parameters()] == [pytest.approx(2e-3)] * 2
    assert [rates[id(p)] for p in network["projection"].parameters()] == [1e-2] * 2
    schedule = WarmupCosine(optimizer, total_steps=10, final_ratio=0.5)
    for _ in range(10):
        schedule.step()
    assert {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]} == pytest.approx(
        {name: rate / 2 for name, rate in rates.items()}
    )
    with pytest.raises(InputError, match="resampler"):
        adamw(network, rate_ratios={"resampler.*": 0.2})


def test_fused_equals_the_plain_loop() -> None:
    weights = []
    for fused in (None, False):
        torch.manual_seed(0)
        network = _network()
        optimizer = adamw(network, learning_rate=1e-2, fused=fused)
        assert optimizer.param_groups[0]["fused"] is (fused is None)
        for _ in range(20):
            optimizer.zero_grad()
            network(torch.randn(4, 3)).square().mean().backward()
            optimizer.step()
        weights.append(network[0].weight.detach())
    torch.testing.assert_close(*weights, rtol=1e-5, atol=1e-6)


def _rates(total: int, steps: int, **options: float) -> list[float]:
    optimizer = torch.optim.SGD(_network().parameters(), lr=2.0)
    schedule = WarmupCosine(optimizer, total_steps=total, **options)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        schedule.step()
    return rates


def test_curve_follows_the_formula() -> None:
    rates = _rates(20, 24, warmup_steps=4, warmup_start_ratio=0.1, final_ratio=0.05)
    for step, rate in enumerate(rates):
        if step < 4:
            expected = 2.0 * (0.1 + 0.9 * step / 4)
        else:
            expected = 2.0 * (0.05 + 0.95 * (1 + math.cos(math.pi * min(1, (step - 4) / 16))) / 2)
        assert rate == pytest.approx(expected, rel=1e-12)
    assert rates[20:] == [pytest.approx(0.1)] * 4  # stays at the end, does not rise again


def test_without_warm_up_it_is_pytorchs_cosine() -> None:
    optimizer = torch.optim.SGD(_network().parameters(), lr=2.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
    expected = []
    for _ in range(10):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()
    assert _rates(10, 10) == pytest.approx(expected, rel=1e-9)


def test_state_is_the_step_alone() -> None:
    optimizer = torch.optim.SGD(_network().parameters(), lr=2.0)
    schedule = WarmupCosine(optimizer, total_steps=10)
    for _ in range(6):
        schedule.step()
    saved = (optimizer.state_dict(), schedule.state_dict())
    longer_optimizer = torch.optim.SGD(_network().parameters(), lr=4.0)  # a changed rate takes effect
    longer = WarmupCosine(longer_optimizer, total_steps=40)
    longer_optimizer.load_state_dict(saved[0])
    longer.load_state_dict(saved[1])
    assert longer_optimizer.param_groups[0]["lr"] == pytest.approx(2 * _rates(40, 7)[6])


def test_impossible_schedules_are_refused() -> None:
    with pytest.raises(InputError, match="5 steps cannot hold 5"):
        WarmupCosine(torch.optim.SGD(_network().parameters(), lr=1.0), total_steps=5, warmup_steps=5)


def test_with_summed_gradients_the_schedule_follows_the_optimizer() -> None:
    from types import SimpleNamespace

    from scripts.training import StepSchedule

    schedule = WarmupCosine(torch.optim.SGD(_network().parameters(), lr=2.0), total_steps=6)
    steps = []
    for iteration in range(1, 11):  # two epochs of 5 batches, two summed: steps after 2, 4, 5 and 7, 9, 10
        state = SimpleNamespace(iteration=iteration, epoch_length=5)
        StepSchedule(schedule)(SimpleNamespace(state=state, accumulation_steps=2))
        steps.append(schedule.last_epoch)
    assert steps == [0, 1, 1, 2, 3, 3, 4, 4, 5, 6]
