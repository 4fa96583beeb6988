"""A layer of Llama's shape (SmolLM, Vicuna, Llama) for decoding on a CPU.

A step's cost is reading the weights, and then the hundreds of small operations between: a third of a step of a model of
135 million parameters. Here queries, keys and values are one product, the two halves of the MLP's first layer another,
and heads that share a key read it instead of copies of it. Weights stay where they are, see `packed_linear`; the result
is that of `transformers`, to rounding.

Legend: B batch rows, S new positions, H heads, D head width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scripts.generation.kv_cache import cache_argument
from scripts.generation.llama import LlamaLayer, turned
from scripts.kernels.packed_linear import PackedLinear

LLAMA_LAYER = ("transformers.models.llama.modeling_llama", "LlamaDecoderLayer")  # not imported: most models have others


def is_llama_layer(module: nn.Module) -> bool:
    """Whether `PackedLlamaLayer` computes the same: a layer of plain linear parts, with fused attention."""
    if type(module) is not LlamaLayer and (type(module).__module__, type(module).__name__) != LLAMA_LAYER:
        return False
    if cache_argument(module) is None:  # a cache under a name that is not known here would be overlooked
        return False
    attention, mlp = module.self_attn, module.mlp
    linears = [attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj]
    linears += [mlp.gate_proj, mlp.up_proj, mlp.down_proj]
    plain = all(type(linear) is nn.Linear for linear in linears)
    return plain and attention.config._attn_implementation == "sdpa" and attention.config.hidden_act == "silu"


class PackedLlamaLayer(nn.Module):
    """The twin of `layer`, which stays the owner of all weights; for inference."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        attention, mlp = layer.self_attn, layer.mlp
        self._layer = (layer,)  # in a tuple, so that it is not registered
        self.cache_name = cache_argument(layer)
        self.head_width, self.index, self.scale = attention.head_dim, attention.layer_idx, attention.scaling
        self.mix_in = PackedLinear(attention.q_proj, attention.k_proj, attention.v_proj)
        self.mix_out = PackedLinear(attention.o_proj)
        self.widen = PackedLinear(mlp.gate_proj, mlp.up_proj)
        self.narrow = PackedLinear(mlp.down_proj)
        self.query_width, self.key_width = attention.q_proj.out_features, attention.k_proj.out_features

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        position_embeddings: tuple[Tensor, Tensor] | None = None,
        **others: Any,
    ) -> Tensor:
        """`[B, S, width]` -> the same; arguments as `LlamaDecoderLayer` has them, the cache among `others`."""
        (layer,) = self._layer
        normed = _normed(hidden_states, layer.input_layernorm)
        mixed = self._attend(normed, attention_mask, position_embeddings, others.get(self.cache_name))
        hidden_states = self.mix_out(mixed).add_(hidden_states)
        gate, up = self.widen(_normed(hidden_states, layer.post_attention_layernorm)).chunk(2, dim=-1)
        return self.narrow(F.silu(gate).mul_(up)).add_(hidden_states)

    def _attend(self, normed: Tensor, mask: Tensor | None, angles: tuple[Tensor, Tensor], cache: Any) -> Tensor:
        """`[B, S, width]` -> `[B, S, H * D]`."""
        rows, positions, _ = normed.shape
        mixed, value = self.mix_in(normed).split([self.query_width + self.key_width, self.key_width], dim=-1)
        mixed = turned(mixed.unflatten(-1, (-1, self.head_width)), *angles).transpose(1, 2)
        query, key = mixed.split([self.query_width // self.head_width, self.key_width // self.head_width], dim=1)
        value = value.unflatten(-1, (-1, self.head_width)).transpose(1, 2)
        if cache is not None:
            key, value = cache.update(key, value, self.index)
        if mask is not None and mask.is_floating_point():
            mixed = _grouped(query * self.scale, key, value, mask)
        else:
            causal = mask is None and positions > 1
            mixed = F.scaled_dot_product_attention(
                query, key, value, attn_mask=mask, is_causal=causal, scale=self.scale, enable_gqa=True
            )
        return mixed.transpose(1, 2).reshape(rows, positions, -1)


def _grouped(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """Attention of a few positions, `[B, H, S, D]`: heads that share a key are rows of one product with it.

    PyTorch's fused attention takes each head by itself, several times slower for so few rows.

    Args:
        query: `[B, H, S, D]`, scaled.
        key: `[B, G, N, D]`; value likewise.
        value: `[B, G, N, D]`.
        bias: `[B, 1, S, N]`, added to the scores.
    """
    rows, groups = key.shape[:2]
    scores = torch.bmm(query.reshape(rows * groups, -1, query.shape[-1]), key.flatten(0, 1).transpose(1, 2))
    weights = (scores.view(rows, -1, *bias.shape[2:]) + bias).softmax(-1)
    return torch.bmm(weights.view(scores.shape), value.flatten(0, 1)).view(query.shape)


def _normed(x: Tensor, norm: nn.Module) -> Tensor:
    """Root-mean-square normalisation (Zhang and Sennrich, NeurIPS 2019, arXiv 1910.07467)."""
    return F.rms_norm(x, norm.weight.shape, norm.weight, norm.variance_epsilon)
