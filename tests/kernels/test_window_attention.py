"""Attention within windows: the same sum as PyTorch's own, whole or in chunks, on the CPU and under autograd."""

from __future__ import annotations

import pytest
import torch

from scripts.kernels import window_attention
from scripts.kernels.window_attention import attend


def parts(windows: int, heads: int = 3, count: int = 9, width: int = 8, seed: int = 0) -> list[torch.Tensor]:
    """Query, key and value as a projection leaves them, heads inside tokens, and a bias."""
    generator = torch.Generator().manual_seed(seed)
    projected = torch.randn(windows, count, heads, 3 * width, generator=generator).transpose(1, 2)
    return [*projected.chunk(3, dim=-1), torch.randn(heads, count, count, generator=generator)]


def expected(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    scores = query.double() @ key.double().transpose(2, 3) / query.shape[3] ** 0.5 + bias.double()
    return (scores.softmax(dim=-1) @ value.double()).transpose(1, 2).flatten(2)


@pytest.mark.parametrize("scores", [1, 3 * 81 * 4, 1 << 19], ids=["a window", "four of eleven", "all"])
def test_chunks_do_not_change_the_result(scores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_attention, "SCORES", scores)
    given = parts(11)
    with torch.no_grad():
        found = attend(*given)
    # rounding of float32 sums of 8 and 9 products
    torch.testing.assert_close(found.double(), expected(*given), atol=1e-5, rtol=1e-5)


def test_gradients_are_those_of_fused_attention() -> None:
    given = [part.detach().clone().requires_grad_() for part in parts(5)]
    attend(*given).square().sum().backward()
    again = [part.detach().clone().requires_grad_() for part in given]
    expected(*again).square().sum().backward()
    for part, same in zip(given, again, strict=True):
        torch.testing.assert_close(part.grad, same.grad, atol=1e-4, rtol=1e-4)  # float32 beside float64


def test_bias_takes_the_type_of_the_query() -> None:
    query, key, value, bias = parts(4)
    with torch.no_grad():
        found = attend(query.bfloat16(), key.bfloat16(), value.bfloat16(), bias)
    assert found.dtype == torch.bfloat16
    # bfloat16 keeps eight bits of inputs and of weights
    torch.testing.assert_close(found.double(), expected(query, key, value, bias), atol=0.1, rtol=0.1)
