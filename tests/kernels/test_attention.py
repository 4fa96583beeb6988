"""Attention with dropout against its formula, values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from scripts.kernels import attention
from scripts.kernels.attention import attend
from scripts.kernels.dropout import draw_kept, kept_share


def parts(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(2, 3, size, 8, generator=generator, dtype=dtype).requires_grad_() for size in (5, 7, 7)
    )
    mask = torch.rand(2, 1, 5, 7, generator=generator) > 0.3
    mask[..., 0] = True
    return query, key, value, mask


def formula(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, kept: Tensor, share: float) -> Tensor:
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return (scores.softmax(-1) * kept / share) @ value


@pytest.mark.parametrize("masked", [False, True])
def test_values_and_gradients_equal_the_formula(masked: bool) -> None:
    query, key, value, mask = parts()
    mask = mask if masked else None
    torch.manual_seed(5)
    output = attend(query, key, value, mask, dropout=0.3)
    torch.manual_seed(5)
    kept, share = draw_kept(torch.Size((2, 3, 5, 7)), 0.3), kept_share(0.3)
    expected = formula(query, key, value, mask, kept, share)
    torch.testing.assert_close(output, expected, rtol=1e-10, atol=1e-12)
    upstream = torch.randn_like(output)
    for mine, reference in zip(
        torch.autograd.grad(output, (query, key, value), upstream),
        torch.autograd.grad(expected, (query, key, value), upstream),
        strict=True,
    ):
        torch.testing.assert_close(mine, reference, rtol=1e-9, atol=1e-11)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for block in (2**21, 64):  # all at once; one of six at a time, 5 x 8 numbers
        monkeypatch.setattr(attention, "_BLOCK", block)
        generator = torch.Generator().manual_seed(0)
        query, key, value = (
            torch.randn(2, 3, size, 8, generator=generator, dtype=torch.float64).requires_grad_() for size in (5, 8, 8)
        )
        mask = torch.rand(2, 1, 5, 8, generator=generator) > 0.3
        mask[..., 0] = True
        torch.manual_seed(5)
        output = attend(query, key[:, :1], value, mask, dropout=0.3)
        found.append((output, *torch.autograd.grad(output.square().sum(), (query, key, value))))
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-12)


def test_an_empty_batch_gives_nothing() -> None:
    query, key = torch.randn(0, 3, 5, 8, requires_grad=True), torch.randn(0, 3, 7, 8)
    output = attend(query, key, key, dropout=0.1)
    assert output.shape == query.shape
    assert torch.autograd.grad(output.sum(), query)[0].shape == query.shape


def test_one_number_is_kept_for_a_weight() -> None:
    query, tokens = torch.randn(2, 1, 30, 8, requires_grad=True), torch.randn(2, 1, 500, 8)
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        attend(query, tokens, tokens, dropout=0.1)
    assert sum(kept.values()) == 4 * (2 * 30 * 500 + query.numel() * 2 + tokens.numel())  # with query, output, tokens


def test_keys_that_are_values_and_are_shared_by_heads_get_both_gradients() -> None:
    query, _, tokens, _ = parts()
    tokens = tokens[:, :1].detach().requires_grad_()
    torch.manual_seed(5)
    output = attend(query, tokens, tokens, dropout=0.3)
    torch.manual_seed(5)
    kept, share = draw_kept(torch.Size((2, 3, 5, 7)), 0.3), kept_share(0.3)
    expected = formula(query, tokens, tokens, None, kept, share)
    torch.testing.assert_close(output, expected, rtol=1e-10, atol=1e-12)
    first, second = (torch.autograd.grad(x.square().sum(), tokens)[0] for x in (output, expected))
    torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-11)


def test_without_dropout_it_is_pytorchs() -> None:
    query, key, value, mask = parts(torch.float32)
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    assert torch.equal(attend(query, key, value, mask), expected)
    torch.testing.assert_close(attend(query, key, value, mask, dropout=1e-9), expected)  # nothing is dropped


@pytest.mark.parametrize("autocast", [False, True])
def test_bfloat16_keeps_its_type_and_stays_near(autocast: bool) -> None:
    inputs, mask = parts(torch.float32)[:3], parts()[3]
    results = []
    for kind in (torch.float32, torch.bfloat16):
        torch.manual_seed(5)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast and kind is torch.bfloat16):
            output = attend(inputs[0].to(kind), *inputs[1:], mask, dropout=0.2)
        assert output.dtype == kind
        results.append((output.float(), *torch.autograd.grad(output.float().square().sum(), inputs)))
    assert all(gradient.dtype == torch.float32 for gradient in results[1])
    torch.testing.assert_close(results[1][0], results[0][0], atol=0.03, rtol=0.03)
    for near, exact in zip(results[1][1:], results[0][1:], strict=True):
        torch.testing.assert_close(near, exact, atol=0.03 * float(exact.abs().max()), rtol=0.03)


def test_float32_under_autocast_stays_float32() -> None:
    query, key, value, mask = parts(torch.float32)
    torch.manual_seed(5)
    expected = attend(query, key, value, mask, dropout=0.2)
    torch.manual_seed(5)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(attend(query, key, value, mask, dropout=0.2), expected)
