"""Layers with weights laid out once: the sums of PyTorch's own layers, weights that change, copies, gradients."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from scripts.kernels import laid_out
from scripts.kernels.convolution import ConvNorm
from scripts.kernels.laid_out import KeptWeights, activated, laid_out_linear
from scripts.kernels.precision import multiplies_bfloat16

ACTIVATIONS = {"": lambda x: x, "gelu": F.gelu, "relu6": F.relu6}


def made(**settings: object) -> ConvNorm:
    """With statistics that are not those of a new layer."""
    layer = ConvNorm(8, 16, **settings).eval().requires_grad_(False)
    for value in (layer.norm.running_mean, layer.norm.bias, layer.norm.weight):
        value.normal_()
    layer.norm.running_var.uniform_(0.5, 2.0)
    return layer


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"kernel": 3},
        {"kernel": 3, "stride": 2, "same": True},
        {"kernel": 3, "groups": 8},
        {"kernel": 5, "groups": 8},
    ],
    ids=str,
)
@pytest.mark.parametrize("images", [1, 3])
def test_convolution_normalisation_and_activation(settings: dict, activation: str, images: int) -> None:
    layer = made(**settings)
    x = torch.randn(images, 8, 12, 12).contiguous(memory_format=torch.channels_last)
    padded, padding = x, layer.conv.kernel_size[0] // 2
    if layer.same:
        padded, padding = F.pad(x, (0, 1, 0, 1)), 0
    plain = F.conv2d(padded, layer.conv.weight, None, layer.conv.stride, padding, groups=layer.conv.groups)
    with torch.no_grad():
        expected = ACTIVATIONS[activation](layer.norm(plain))
        torch.testing.assert_close(layer(x, activation), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_linear(activation: str) -> None:
    linear, x = nn.Linear(24, 40).requires_grad_(False), torch.randn(2, 7, 24)
    expected = ACTIVATIONS[activation](linear(x))
    torch.testing.assert_close(laid_out_linear(KeptWeights(), linear, x, activation), expected, rtol=1e-4, atol=1e-5)


def test_weights_that_change_are_noticed() -> None:
    layer, x = made(), torch.randn(1, 8, 4, 4)
    linear, kept, row = nn.Linear(8, 8).requires_grad_(False), KeptWeights(), torch.randn(3, 8)
    for _ in range(2):
        torch.testing.assert_close(layer(x), layer.norm(layer.conv(x)), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(laid_out_linear(kept, linear, row), linear(row), rtol=1e-4, atol=1e-5)
        layer.norm.running_mean.add_(1.0)
        linear.weight.mul_(2.0)


@pytest.mark.skipif(not multiplies_bfloat16("cpu"), reason="this processor has no bfloat16 units")
def test_bfloat16_is_laid_out_under_autocast_and_float32_comes_back() -> None:
    layer, x = made(kernel=3), torch.randn(2, 8, 12, 12).contiguous(memory_format=torch.channels_last)
    linear, kept, row = nn.Linear(24, 40).requires_grad_(False), KeptWeights(), torch.randn(3, 24)
    expected = layer(x, "gelu"), F.gelu(linear(row))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        short = layer(x, "gelu"), laid_out_linear(kept, linear, row, "gelu")
    assert layer.kept._kept is not None and kept._kept is not None
    for found, exact in zip(short, expected, strict=True):
        # 2^-8 is a unit in bfloat16's last place; inputs, weights and the result are rounded to it.
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found.float(), exact, rtol=2.0**-6, atol=2.0**-6)
    torch.testing.assert_close(layer(x, "gelu"), expected[0])
    torch.testing.assert_close(laid_out_linear(kept, linear, row, "gelu"), expected[1], rtol=1e-5, atol=1e-6)


def test_copies_and_pickles_begin_without_a_layout() -> None:
    layer, x = made(kernel=3), torch.randn(1, 8, 6, 6)
    expected = layer(x)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert twin.kept._kept is None
        torch.testing.assert_close(twin(x), expected)
        assert set(twin.state_dict()) == set(layer.state_dict())


def test_the_laid_out_way_is_taken_where_nothing_is_learned_and_only_there(monkeypatch: pytest.MonkeyPatch) -> None:
    if not laid_out._AVAILABLE:
        pytest.skip("this build of PyTorch has no oneDNN")
    layer, x = made(), torch.randn(1, 8, 4, 4)
    layer(x)
    assert layer.kept._kept is not None
    trained = made().requires_grad_(True)
    trained(x, "gelu").sum().backward()
    assert trained.kept._kept is None and trained.conv.weight.grad is not None
    under = made()
    with torch.autocast("cpu", dtype=torch.float16):
        under(x)
    assert under.kept._kept is None
    followed = torch.randn(1, 8, 4, 4, requires_grad=True)
    layer(followed, "relu6").sum().backward()
    assert followed.grad is not None


def test_an_activation_of_a_followed_result_overwrites_nothing() -> None:
    x = torch.randn(4, requires_grad=True)
    y = x * 1.0
    before = y.detach().clone()
    activated(y, "gelu"), activated(y, "relu6")
    assert torch.equal(y.detach(), before)
