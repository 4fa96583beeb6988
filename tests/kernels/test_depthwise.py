"""Depthwise convolution with gradients of float32, against PyTorch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from scripts.kernels.convolution import ConvNorm
from scripts.kernels.depthwise import depthwise

SHAPES = [(6, 9, 3, 1), (6, 9, 3, 2), (4, 8, 5, 1), (8, 11, 5, 2)]


def inputs(channels: int, side: int, kernel: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    x = torch.randn(2, channels, side, side).contiguous(memory_format=torch.channels_last).requires_grad_()
    return x, torch.randn(channels, 1, kernel, kernel).requires_grad_()


@pytest.mark.parametrize(("channels", "side", "kernel", "stride"), SHAPES)
def test_float32_is_pytorchs_own(channels: int, side: int, kernel: int, stride: int) -> None:
    x, weight = inputs(channels, side, kernel)
    padding = (kernel // 2, kernel // 2)
    ours = depthwise(x, weight, stride, padding)
    assert torch.equal(ours, F.conv2d(x, weight, None, stride, padding, groups=channels))


@pytest.mark.parametrize(("channels", "side", "kernel", "stride"), SHAPES)
def test_gradients_under_autocast_are_float32s_of_the_rounded_map(
    channels: int, side: int, kernel: int, stride: int
) -> None:
    x, weight = inputs(channels, side, kernel)
    padding = (kernel // 2, kernel // 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = depthwise(x, weight, stride, padding)
        published = F.conv2d(x, weight, None, stride, padding, groups=channels)
    assert ours.dtype == torch.bfloat16
    assert torch.equal(ours, published)
    ours.float().square().sum().backward()
    found = x.grad, weight.grad

    rounded = x.detach().bfloat16().float().requires_grad_()
    plain = weight.detach().requires_grad_()
    exact = F.conv2d(rounded, plain, None, stride, padding, groups=channels)
    exact.backward(2 * published.detach().float())
    assert found[1].dtype == torch.float32
    # bfloat16 keeps 8 bits of the gradient that comes in and of the one that goes out: 2^-8 of each sum's size.
    for mine, theirs in zip(found, (rounded.grad, plain.grad), strict=True):
        assert (mine - theirs).abs().max() <= 2**-7 * theirs.abs().max()


def test_only_what_is_asked_for_is_computed() -> None:
    x, weight = inputs(4, 8, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        depthwise(x.detach(), weight, 1, (2, 2)).sum().backward()
    assert x.grad is None
    assert weight.grad is not None
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        assert not depthwise(x, weight, 1, (2, 2)).requires_grad


def test_a_layer_that_normalises_by_its_batch_learns_through_it() -> None:
    torch.manual_seed(0)
    layer = ConvNorm(8, 8, kernel=5, stride=2, groups=8, same=True).train()
    x = torch.randn(2, 8, 12, 12)
    grads = []
    for lowered in (False, True):
        layer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=lowered):
            layer(x, "relu6").float().square().sum().backward()
        grads.append(layer.conv.weight.grad.clone())
    assert torch.nn.functional.cosine_similarity(grads[0].flatten(), grads[1].flatten(), dim=0) > 0.99
