"""Dropout against PyTorch's: shares, mean, gradients, memory."""

from __future__ import annotations

import pytest
import torch

from scripts.kernels.dropout import draw_kept, drop, keep, kept_share, mark_dropped


@pytest.mark.parametrize("dropout", [0.1, 0.25])
def test_as_many_are_dropped_as_asked(dropout: float) -> None:
    kept, share = draw_kept(torch.Size((1000, 1001)), dropout), kept_share(dropout)
    assert share == pytest.approx(1 - dropout, abs=1e-5)
    assert kept.float().mean().item() == pytest.approx(share, abs=0.002)  # five standard deviations
    columns = kept.flatten()[: 4 * 250_000].view(-1, 4).float().mean(0)  # the four draws of one number
    torch.testing.assert_close(columns, torch.full((4,), share), atol=0.004, rtol=0)
    joint = kept.flatten()[: 4 * 250_000].view(-1, 4)
    assert (joint[:, 0] & joint[:, 1]).float().mean().item() == pytest.approx(share**2, abs=0.004)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_elements_are_dropped_or_grow_and_gradients_follow(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.rand(64, 33, dtype=dtype).add_(0.5).requires_grad_()
    output = drop(x, 0.25)
    assert output.dtype == dtype
    kept = output != 0
    assert 0.7 < kept.float().mean() < 0.8
    torch.testing.assert_close(output[kept], (x / 0.75)[kept])
    (gradient,) = torch.autograd.grad(output, x, torch.full_like(x, 3))
    torch.testing.assert_close(gradient, kept * torch.tensor(4, dtype=dtype))


def test_the_seed_decides() -> None:
    x = torch.ones(1000)
    torch.manual_seed(1)
    first, other = drop(x, 0.5), drop(x, 0.5)
    torch.manual_seed(1)
    assert torch.equal(drop(x, 0.5), first)
    assert not torch.equal(first, other)


def test_nothing_is_dropped_outside_of_training_or_at_share_zero() -> None:
    x = torch.rand(5, 7)
    assert torch.equal(drop(x, 0.3, training=False), x)
    assert torch.equal(drop(x, 0.0), x)


def test_one_byte_is_kept_for_an_element() -> None:
    kept: list[int] = []
    x = torch.rand(100, 10, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.nbytes) or t, lambda t: t):
        drop(x * 2, 0.1)
    assert sum(kept) <= x.numel() + 8  # and what the product by 2 keeps: a number


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_keep_is_a_product_with_the_bools_whatever_the_strides(dtype: torch.dtype) -> None:
    x = torch.randn(6, 10).to(dtype)
    kept = torch.rand(10, 6) > 0.5
    assert torch.equal(keep(x.T, kept), x.T * kept)
    assert torch.equal(keep(x[:, :1].expand(6, 4), kept[:6, :4]), x[:, :1] * kept[:6, :4])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_marks_are_what_would_not_be_kept(dtype: torch.dtype) -> None:
    x = torch.rand(33, 10).to(dtype)
    marked = x.clone()
    torch.manual_seed(4)
    mark_dropped(marked, 0.3)
    torch.manual_seed(4)
    kept = draw_kept(x.shape, 0.3)
    assert torch.equal(marked.abs(), x)
    assert torch.equal(marked.signbit(), ~kept)  # of zeros, too
    assert not kept.all()
