"""The loss under a frozen output layer against ``torch.nn.functional``, made of whole logits."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from scripts.kernels.frozen_head import frozen_head_loss


def parts(words: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Hidden states ``[M, 24]``, an output layer of 500 words, and the right words."""
    draw = torch.Generator().manual_seed(words)
    hidden, weight = torch.randn(words, 24, generator=draw), torch.randn(500, 24, generator=draw)
    bias, ids = torch.randn(500, generator=draw), torch.randint(500, (words,), generator=draw)
    return hidden.to(dtype).requires_grad_(), weight.to(dtype), bias.to(dtype), ids


@pytest.mark.parametrize("words", [1, 128, 300])  # one row, one chunk, several of which the last is short
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("biased", [False, True])
def test_loss_and_gradient_are_those_of_whole_logits(words: int, smoothing: float, biased: bool) -> None:
    hidden, weight, bias, ids = parts(words)
    bias = bias if biased else None
    whole = F.cross_entropy(F.linear(hidden, weight, bias), ids, label_smoothing=smoothing, reduction="sum")
    found = frozen_head_loss(hidden, weight, bias, ids, smoothing)
    torch.testing.assert_close(found, whole)
    (expected,), (actual,) = (torch.autograd.grad(loss / 7, hidden) for loss in (whole, found))
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def test_in_bfloat16_only_products_are_rounded() -> None:
    hidden, weight, _, ids = parts(300, torch.bfloat16)
    found = frozen_head_loss(hidden, weight, None, ids)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, F.cross_entropy(F.linear(hidden, weight).float(), ids, reduction="sum"))
    exact = F.cross_entropy(F.linear(hidden.float(), weight.float()), ids, reduction="sum")
    (expected,), (actual,) = (torch.autograd.grad(loss, hidden) for loss in (exact, found))
    assert (actual - expected).norm() < 0.01 * expected.norm()  # bfloat16 has 8 bits


def test_under_autocast_it_multiplies_in_autocasts_precision() -> None:
    hidden, weight, _, ids = parts(40)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = frozen_head_loss(hidden, weight, None, ids)
        whole = F.cross_entropy(F.linear(hidden, weight).float(), ids, reduction="sum")
    torch.testing.assert_close(found, whole)
    (gradient,) = torch.autograd.grad(found, hidden)
    assert gradient.dtype == torch.float32


def test_without_words_it_is_nothing() -> None:
    hidden, weight, _, ids = parts(0)
    found = frozen_head_loss(hidden, weight, None, ids)
    found.backward()
    assert found == 0.0 and hidden.grad.shape == (0, 24)


def test_without_gradients_none_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.kernels.frozen_head._slope", None)
    hidden, weight, _, ids = parts(10)
    with torch.no_grad():
        found = frozen_head_loss(hidden, weight, None, ids)
    torch.testing.assert_close(found, F.cross_entropy(F.linear(hidden, weight), ids, reduction="sum").detach())
