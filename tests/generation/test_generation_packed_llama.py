"""A packed layer of Llama's shape: the result of transformers' layer at each step, always of the present weights."""

from __future__ import annotations

import pytest
import torch
from tiny_language_models import prefixes, tiny_model
from torch import nn
from transformers.cache_utils import DynamicCache

from scripts.generation.kv_cache import cache_argument
from scripts.generation.packed_llama import PackedLlamaLayer, is_llama_layer
from scripts.generation.packing import can_be_packed, packed
from scripts.kernels.packed_linear import PackedLinear

pytestmark = pytest.mark.skipif(
    not can_be_packed(nn.Linear(1, 1)), reason="this build of torch has no oneDNN on this CPU"
)


def hidden_states(model: nn.Module, mask: torch.Tensor | None) -> list[torch.Tensor]:
    """Of a prefix and of two steps after it."""
    cache, found = DynamicCache(config=model.config), []
    for start, part in ((0, prefixes(3)), (7, prefixes(3, 1, seed=2)), (8, prefixes(3, 1, seed=3))):
        seen = None if mask is None else torch.cat([mask, mask.new_ones(3, start + part.shape[1] - 7)], dim=1)
        given = {cache_argument(model): cache, "attention_mask": seen}
        output = model(inputs_embeds=part, use_cache=True, **given)
        found.append(output.last_hidden_state if seen is None else output.last_hidden_state * seen[:, start:, None])
    return found


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("padded", [False, True])
@torch.no_grad()
def test_same_hidden_states(bias: bool, padded: bool) -> None:
    model = tiny_model("llama").model
    if bias:
        for layer in model.layers:
            for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
                plain = getattr(layer.self_attn, name)
                setattr(layer.self_attn, name, nn.Linear(plain.in_features, plain.out_features))
    mask = (torch.arange(7)[None] >= torch.tensor([0, 2, 3])[:, None]).long() if padded else None
    twin = packed(model.requires_grad_(False))
    assert sum(isinstance(part, PackedLlamaLayer) for part in twin.modules()) == 3
    for ours, theirs in zip(hidden_states(twin, mask), hidden_states(model, mask), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)  # rounding of float32, three layers


@torch.no_grad()
def test_a_changed_weight_of_a_joined_product_is_seen() -> None:
    model = tiny_model("llama").model.requires_grad_(False)
    twin = packed(model)
    before = hidden_states(twin, None)[0]
    model.layers[1].self_attn.v_proj.weight.mul_(2)
    model.layers[2].input_layernorm.weight.mul_(2)
    after = hidden_states(twin, None)[0]
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, hidden_states(model, None)[0], atol=1e-5, rtol=1e-5)


def test_other_layers_are_left_to_transformers() -> None:
    assert is_llama_layer(tiny_model("llama").model.layers[0])
    assert not is_llama_layer(tiny_model("llama", attention="eager").model.layers[0])
    adapted = tiny_model("llama").model.layers[0]
    adapted.mlp.up_proj = nn.Sequential(adapted.mlp.up_proj)
    assert not is_llama_layer(adapted)
    assert not is_llama_layer(tiny_model("opt").model.decoder.layers[0])


def test_a_layer_whose_cache_has_an_unknown_name_is_left_to_transformers() -> None:
    """A packed layer would not find that cache, and every step would see its own token alone."""
    layer = tiny_model("llama").model.layers[0]
    assert cache_argument(layer) is not None
    layer.forward = lambda hidden_states, attention_mask=None, memory=None, **others: hidden_states
    assert not is_llama_layer(layer)


@torch.no_grad()
def test_joined_products_stand_side_by_side() -> None:
    linears = [nn.Linear(8, size).requires_grad_(False) for size in (6, 2, 4)]
    inputs = torch.randn(3, 8)
    expected = torch.cat([linear(inputs) for linear in linears], dim=1)
    torch.testing.assert_close(PackedLinear(*linears)(inputs), expected, atol=1e-6, rtol=1e-5)
    linears[1].bias.add_(1)
    expected[:, 6:8] += 1
    torch.testing.assert_close(PackedLinear(*linears)(inputs), expected, atol=1e-6, rtol=1e-5)
