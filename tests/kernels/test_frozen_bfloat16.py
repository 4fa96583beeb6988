"""Frozen bfloat16 layers multiplied in float32: nearer to the exact product, same gradient, nothing wide is kept."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from scripts.kernels import frozen_bfloat16 as widened
from scripts.kernels.frozen_bfloat16 import widen_frozen
from scripts.training import prepare_network


@pytest.fixture(autouse=True)
def without_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(widened, "multiplies_bfloat16", lambda device: False)


def frozen_layers(dtype: torch.dtype = torch.bfloat16) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 96), nn.GELU(), nn.Linear(96, 32, bias=False)).to(dtype).requires_grad_(False)


@pytest.mark.parametrize("shape", [(3, 40, 64), (5, 64)])
def test_products_and_gradients_follow_float64(shape: tuple[int, ...]) -> None:
    network = frozen_layers()
    exact = copy.deepcopy(network).double()
    names = set(network.state_dict())
    assert prepare_network(network, device="cpu") is network and set(network.state_dict()) == names
    inputs = torch.randn(shape).bfloat16().requires_grad_()
    wide = inputs.detach().double().requires_grad_()
    outputs, expected = network(inputs), exact(wide)
    assert outputs.dtype == torch.bfloat16
    torch.testing.assert_close(outputs.double(), expected, atol=2e-2, rtol=2e-2)
    outputs.float().square().sum().backward()
    expected.square().sum().backward()
    assert (inputs.grad.double() - wide.grad).norm() < 2e-2 * wide.grad.norm()


def test_only_bfloat16_weights_are_kept_for_the_backward_pass() -> None:
    network, kept = frozen_layers(), []
    assert widen_frozen(network) == 2
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        network(torch.randn(40, 64).bfloat16().requires_grad_())
    assert kept and all(tensor.dtype == torch.bfloat16 for tensor in kept)


def test_what_learns_or_is_multiplied_natively_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    assert widen_frozen(frozen_layers(torch.float32)) == 0
    assert widen_frozen(frozen_layers().requires_grad_(True)) == 0
    monkeypatch.setattr(widened, "multiplies_bfloat16", lambda device: True)
    assert widen_frozen(frozen_layers()) == 0


@pytest.mark.parametrize("bias", [True, False])
def test_convolutions_too(bias: bool) -> None:
    torch.manual_seed(0)
    network = nn.Conv2d(3, 8, 4, stride=2, padding=1, bias=bias).bfloat16().requires_grad_(False)
    exact, inputs = copy.deepcopy(network).double(), torch.randn(2, 3, 12, 12).bfloat16()
    assert widen_frozen(network) == 1
    found = network(inputs)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), exact(inputs.double()), atol=2e-2, rtol=1e-2)
