"""Branch: what happens to encoder tokens before the Q-Former reads them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scripts.networks.branch import Branch, fit_standardization
from scripts.networks.qformer import QFormer
from scripts.weights.loading import trained_names


class FixedEncoder(nn.Module):
    width, token_count, grid = 6, 4, (2, 2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.mean(dim=(1, 2, 3))[:, None, None].expand(-1, 4, 6) + torch.arange(6.0)


def branch(**options: object) -> Branch:
    torch.manual_seed(0)
    qformer = QFormer(encoder_width=6, width=8, layers=1, heads=2, intermediate=8, queries=2, text=False, dropout=0.0)
    return Branch(encoder=FixedEncoder(), qformer=qformer, **options)


class Network(nn.Module):
    def __init__(self, one: Branch) -> None:
        super().__init__()
        self.branches = nn.ModuleDict({"detail": one})


def test_fitted_channels_have_mean_0_and_variance_1_over_images_and_positions() -> None:
    tokens = torch.randn(5, 7, 6) * torch.arange(1.0, 7.0) + 10 * torch.arange(6.0)
    one = branch(normalize_tokens="standardize")
    fit_standardization(Network(one), [{"detail_tokens": case.half()} for case in tokens])
    out = one.token_norm(tokens)
    torch.testing.assert_close(out.mean((0, 1)), torch.zeros(6), atol=1e-2, rtol=0)  # half precision in the cache
    torch.testing.assert_close(out.flatten(0, 1).var(0, unbiased=False), torch.ones(6), atol=1e-2, rtol=0)


def test_images_and_cached_tokens_fit_alike() -> None:
    images = torch.rand(4, 3, 4, 4)
    from_images, from_cache = branch(normalize_tokens="standardize"), branch(normalize_tokens="standardize")
    fit_standardization(Network(from_images), [{"image": image} for image in images])
    fit_standardization(Network(from_cache), [{"detail_tokens": from_cache.encode(i[None])[0][0]} for i in images])
    torch.testing.assert_close(from_images.token_norm.state_dict(), from_cache.token_norm.state_dict())


def test_statistics_that_were_loaded_stay() -> None:
    one = branch(normalize_tokens="standardize")
    fit_standardization(Network(one), [{"detail_tokens": torch.randn(4, 6)} for _ in range(3)])
    before = one.token_norm.mean.clone()
    fit_standardization(Network(one), [{"detail_tokens": torch.randn(4, 6) + 9} for _ in range(3)])
    assert torch.equal(one.token_norm.mean, before)


def test_statistics_belong_to_what_training_changes() -> None:
    names = trained_names(branch(normalize_tokens="standardize"))
    assert {"token_norm.weight", "token_norm.mean", "token_norm.variance", "token_norm.fitted"} <= set(names)


def test_standardized_images_differ_where_a_layer_norm_hides_them() -> None:
    """Images here differ by a constant over channels, which a norm over channels removes entirely."""
    images = torch.rand(6, 3, 4, 4) * torch.linspace(0, 1, 6)[:, None, None, None]
    spread = {}
    for kind in (True, "standardize"):
        network = branch(normalize_tokens=kind)
        if kind == "standardize":
            fit_standardization(Network(network), [{"image": image} for image in images])
        spread[kind] = network(*network.encode(images)).std(dim=0).max().item()
    assert spread[True] < 1e-4 < 1e-2 < spread["standardize"]


def test_an_unknown_norm_is_refused() -> None:
    with pytest.raises(ValueError, match="standardize"):
        branch(normalize_tokens="batch")


def test_a_norm_whose_scale_and_shift_act_on_the_projections_learns_as_one_before_them() -> None:
    one = branch()
    for parameter in one.parameters():
        nn.init.normal_(parameter, std=0.5)
    tokens, mask = torch.randn(3, 4, 6), torch.rand(3, 4) > 0.2
    mask[:, 0] = True
    expected = one.qformer(one.qformer.project(one.token_norm(tokens), mask))
    assert one.project(tokens, mask).affine is not None
    results = [
        (states, torch.autograd.grad(states.square().sum(), tuple(one.parameters())))
        for states in (one(tokens, mask), expected)
    ]
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)
    norm_gradients = results[0][1][[name for name, _ in one.named_parameters()].index("token_norm.weight")]
    assert norm_gradients.abs().max() > 1e-2
    with torch.no_grad():
        assert one.project(tokens, mask).affine is None
        torch.testing.assert_close(one(tokens, mask), expected, rtol=1e-4, atol=1e-5)
