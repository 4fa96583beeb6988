"""A bottleneck in bands of rows equals the same layers one after the other, and trains like them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scripts.kernels import bottleneck as module
from scripts.kernels.bottleneck import bottleneck
from scripts.kernels.convolution import ConvNorm


def layers(stride: int) -> tuple[ConvNorm, ConvNorm, ConvNorm]:
    torch.manual_seed(0)
    made = ConvNorm(4, 12), ConvNorm(12, 12, kernel=3, stride=stride, groups=12), ConvNorm(12, 6)
    for layer in made:
        nn.init.normal_(layer.norm.bias)  # so that a padded row of the wide map is not what its expansion would be
        layer.eval()
    return made


def one_after_the_other(x: Tensor, expand: ConvNorm, depthwise: ConvNorm, project: ConvNorm) -> Tensor:
    return project(F.gelu(depthwise(F.gelu(expand(x)))))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 16, 8), (2, 13, 10), (3, 7, 5)])
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_bands_equal_the_whole(stride: int, size: tuple[int, int, int], rows: int, monkeypatch) -> None:
    parts = layers(stride)
    batch, height, breadth = size
    x = torch.randn(batch, 4, height, breadth).contiguous(memory_format=torch.channels_last)
    monkeypatch.setattr(module, "BAND", 12 * batch * breadth * rows)
    kept = x.clone()
    with torch.no_grad():
        found, expected = bottleneck(x, *parts), one_after_the_other(x, *parts)
    assert found.shape == expected.shape and found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    assert torch.equal(x, kept)


def test_bands_hold_no_more_than_they_may(monkeypatch) -> None:
    parts, widest = layers(1), []
    monkeypatch.setattr(module, "BAND", 12 * 8 * 4)
    parts[0].register_forward_hook(lambda _, __, output: widest.append(output.shape[2]))
    with torch.no_grad():
        bottleneck(torch.randn(1, 4, 32, 8), *parts)
    assert len(widest) == 8 and max(widest) == 4 + 2


def test_gradients_are_those_of_the_layers(monkeypatch) -> None:
    monkeypatch.setattr(module, "BAND", 1)
    parts, x = layers(1), torch.randn(2, 4, 9, 6)
    gradients = []
    for run in (bottleneck, one_after_the_other):
        own = x.clone().requires_grad_()
        run(own, *parts).square().sum().backward()
        gradients.append(own.grad)
    torch.testing.assert_close(gradients[0], gradients[1])
