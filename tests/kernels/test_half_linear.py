"""Products with float16 weights: float32's sums, and only where the weights are such numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scripts.kernels import half_linear
from scripts.kernels.half_linear import are_half, half_product
from scripts.kernels.packed_linear import PackedLinear
from scripts.networks.lora import add_adapters

needs_product = pytest.mark.skipif(not half_linear._available(), reason="this processor or build has no FBGEMM")


def layer(outputs: int = 48, *, bias: bool = False, inputs: int = 64) -> nn.Linear:
    """Weights that are float16 numbers, in float32."""
    made = nn.Linear(inputs, outputs, bias=bias).requires_grad_(False)
    made.weight.copy_(made.weight.half().float())
    return made


def add(linear: nn.Linear, rank: int = 4) -> torch.Tensor:
    """Add an adapter into a layer's weights; what they would be in float64."""
    model = nn.Sequential(linear)
    names = ("base_model.model.0.lora_A.default.weight", "base_model.model.0.lora_B.default.weight")
    outputs, inputs = linear.weight.shape
    down, up = 0.1 * torch.randn(rank, inputs), 0.1 * torch.randn(outputs, rank)
    exact = linear.weight.double() + 16.0 / rank * up.double() @ down.double()
    add_adapters(model, dict(zip(names, (down, up), strict=True)), alpha=16.0, source="a test")
    return exact


@needs_product
@pytest.mark.parametrize("shape", [(1, 64), (5, 64), (2, 7, 64)])
@pytest.mark.parametrize("bias", [False, True])
def test_the_sums_are_those_of_float32(shape: tuple[int, ...], bias: bool) -> None:
    linear, x = layer(bias=bias), torch.randn(*shape)
    exact = nn.functional.linear(x.double(), linear.weight.double(), linear.bias.double() if bias else None)
    made = half_product(linear.weight, linear.bias)(x)
    assert made.shape == exact.shape and made.dtype == torch.float32
    torch.testing.assert_close(made.double(), exact, rtol=1e-5, atol=1e-5)


def test_adapters_leave_float16_numbers_what_they_are() -> None:
    linear = layer()
    exact = add(linear)
    assert are_half(linear.weight) and linear.weight.dtype == torch.float32
    # Half a unit in the last of float16's eleven bits, and what float32's sum before it rounds.
    torch.testing.assert_close(linear.weight.double(), exact, rtol=2.0**-11 * 1.001, atol=1e-7)


def test_adapters_leave_float32_as_exact_as_it_is() -> None:
    linear = nn.Linear(64, 48).requires_grad_(False)
    torch.testing.assert_close(add(linear), linear.weight.double(), rtol=1e-6, atol=1e-7)
    assert not are_half(linear.weight)


def test_weights_that_are_no_float16_numbers_are_left_alone() -> None:
    drawn, huge = nn.Linear(64, 48).requires_grad_(False), layer()
    huge.weight[0, 0] = 1e6
    for linear in (drawn, huge, layer().to(torch.bfloat16)):
        assert half_product(linear.weight, None) is None


@needs_product
def test_a_packed_layer_takes_it_up_and_lets_it_go_when_weights_change() -> None:
    linear, x = layer(), torch.randn(5, 64)
    packed = PackedLinear(linear)
    for _ in range(2):
        torch.testing.assert_close(packed(x), linear(x), rtol=1e-5, atol=1e-5)
        assert packed._half is not None
    linear.weight.add_(torch.randn_like(linear.weight))
    torch.testing.assert_close(packed(x), linear(x), rtol=1e-4, atol=1e-5)
    assert packed._half is None
