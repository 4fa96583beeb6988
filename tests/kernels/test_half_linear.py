"""Products with float16 weights: float32's sums, adapters beside, and only where nothing is lost."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scripts.kernels import half_linear
from scripts.kernels.half_linear import half_product
from scripts.kernels.packed_linear import PackedLinear
from scripts.networks.lora import add_adapters

pytestmark = pytest.mark.skipif(not half_linear._available(), reason="this processor or build has no FBGEMM")


def layer(outputs: int = 48, *, bias: bool = False, inputs: int = 64) -> nn.Linear:
    """Weights that are float16 numbers, in float32."""
    made = nn.Linear(inputs, outputs, bias=bias).requires_grad_(False)
    made.weight.copy_(made.weight.half().float())
    return made


def adapted(outputs: int = 48, rank: int = 4) -> nn.Linear:
    """The same with an adapter added into the weights, as checkpoints have it."""
    model = nn.Sequential(layer(outputs))
    names = ("base_model.model.0.lora_A.default.weight", "base_model.model.0.lora_B.default.weight")
    factors = (0.1 * torch.randn(rank, 64), 0.1 * torch.randn(outputs, rank))
    add_adapters(model, dict(zip(names, factors, strict=True)), alpha=16.0, source="a test")
    return model[0]


@pytest.mark.parametrize("shape", [(1, 64), (5, 64), (2, 7, 64)])
@pytest.mark.parametrize("bias", [False, True])
def test_the_sums_are_those_of_float32(shape: tuple[int, ...], bias: bool) -> None:
    linears, x = [layer(bias=bias), layer(16, bias=bias)], torch.randn(*shape)
    exact = torch.cat([exactly(linear, x) for linear in linears], -1)
    made = half_product(linears)(x)
    assert made.shape == exact.shape and made.dtype == torch.float32
    torch.testing.assert_close(made.double(), exact, rtol=1e-5, atol=1e-5)


def exactly(linear: nn.Linear, x: torch.Tensor) -> torch.Tensor:
    """In float64."""
    bias = None if linear.bias is None else linear.bias.double()
    return nn.functional.linear(x.double(), linear.weight.double(), bias)


def test_adapters_are_multiplied_beside() -> None:
    linears, x = [adapted(), layer(16), adapted(32, rank=2)], torch.randn(5, 64)
    exact = torch.cat([exactly(linear, x) for linear in linears], -1)
    torch.testing.assert_close(half_product(linears)(x).double(), exact, rtol=1e-5, atol=1e-5)


def test_two_adapters_of_one_layer_are_both_taken_off() -> None:
    linear, x = adapted(), torch.randn(5, 64)
    more = {"0.lora_A.default.weight": torch.randn(3, 64), "0.lora_B.default.weight": 0.1 * torch.randn(48, 3)}
    add_adapters(nn.Sequential(linear), more, alpha=3.0, source="a test")
    assert linear.added[0].shape == (48, 7)
    torch.testing.assert_close(half_product([linear])(x), linear(x), rtol=1e-5, atol=1e-5)


def test_weights_that_are_no_float16_numbers_are_left_alone() -> None:
    drawn, huge, changed = nn.Linear(64, 48).requires_grad_(False), layer(), adapted()
    huge.weight[0, 0] = 1e6
    changed.weight.mul_(1.001)
    for linear in (drawn, huge, changed, layer().to(torch.bfloat16)):
        assert half_product([linear]) is None
    assert half_product([layer(), nn.Linear(64, 8, bias=False)]) is None


def test_a_packed_layer_takes_it_up_and_lets_it_go_when_weights_change() -> None:
    linear, x = adapted(), torch.randn(5, 64)
    packed = PackedLinear(linear)
    for _ in range(2):
        torch.testing.assert_close(packed(x), linear(x), rtol=1e-5, atol=1e-5)
        assert packed._half is not None
    linear.weight.add_(torch.randn_like(linear.weight))
    torch.testing.assert_close(packed(x), linear(x), rtol=1e-4, atol=1e-5)
    assert packed._half is None
