"""A Llama without `transformers`, for captioning: importing that library costs half of a start.

This second implementation and `tokenizer` stay only while they bring a user more than 1.5 s. A cold start with a first
caption took 4.5 s of processor time with them and 7.8 s with those of `transformers` (`benchmarks/start.py`, median of
three in turns).

Parameters have the names that `transformers.LlamaForCausalLM` gives them, arguments and results its meaning, as far as
decoding and explanation use them; the mathematics is Llama's (Touvron et al. 2023, arXiv 2302.13971): root-mean-square
norms, rotary positions, gated MLPs, heads that share keys. For decoding, `packing` gives its layers the twins that
those of `transformers` have. Training takes `transformers`' own.

Legend: B batch rows, S new positions, N positions in all, W width, H heads, D head width, V vocabulary.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from scripts.errors import WeightsError

NEEDED = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
NEEDED += ("head_dim", "vocab_size", "rms_norm_eps", "max_position_embeddings")
PLAIN = {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "model_type": "llama"}


class RMSNorm(nn.Module):
    """`weight * x / sqrt(mean(x^2) + eps)` over the last dimension, the mean in float32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.variance_epsilon = eps

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        scaled = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.variance_epsilon)
        return self.weight * scaled.to(x.dtype)


class Attention(nn.Module):
    """Heads over keys that groups of them share."""

    def __init__(self, config: SimpleNamespace, index: int) -> None:
        super().__init__()
        self.config, self.layer_idx, self.head_dim = config, index, config.head_dim
        self.scaling = self.head_dim**-0.5
        queries, keys = (n * self.head_dim for n in (config.num_attention_heads, config.num_key_value_heads))
        self.q_proj = nn.Linear(config.hidden_size, queries, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, keys, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, keys, bias=False)
        self.o_proj = nn.Linear(queries, config.hidden_size, bias=False)

    def forward(
        self, x: Tensor, mask: Tensor | None, angles: tuple[Tensor, Tensor], cache: Any, explicit: bool
    ) -> tuple[Tensor, Tensor | None]:
        """`[B, S, W]` -> the same, and the weights `[B, H, S, N]` where `explicit`."""
        query, key, value = (
            product(x).unflatten(-1, (-1, self.head_dim)) for product in (self.q_proj, self.k_proj, self.v_proj)
        )
        query, key = (turned(part, *angles).transpose(1, 2) for part in (query, key))
        value = value.transpose(1, 2)
        if cache is not None:
            key, value = cache.update(key, value, self.layer_idx)
        if explicit:
            mixed, weights = self._explicit(query, key, value, mask)
        else:
            causal = mask is None and query.shape[2] > 1
            scale = self.scaling
            mixed, weights = (
                F.scaled_dot_product_attention(
                    query, key, value, attn_mask=mask, is_causal=causal, scale=scale, enable_gqa=True
                ),
                None,
            )
        return self.o_proj(mixed.transpose(1, 2).flatten(2)), weights

    def _explicit(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
        scores = query @ key.transpose(-1, -2) * self.scaling
        if mask is None:
            rows, columns = scores.shape[-2:]
            mask = torch.ones(rows, columns, dtype=torch.bool, device=scores.device).tril(columns - rows)
        hidden = torch.finfo(scores.dtype).min
        scores = scores.masked_fill(~mask, hidden) if mask.dtype == torch.bool else scores + mask
        weights = scores.softmax(-1, dtype=torch.float32).to(query.dtype)
        return weights @ value, weights


class GatedMLP(nn.Module):
    """`down(silu(gate(x)) * up(x))`."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class LlamaLayer(nn.Module):
    """Attention and MLP, each after a norm and added to what came in."""

    def __init__(self, config: SimpleNamespace, index: int) -> None:
        super().__init__()
        self.self_attn = Attention(config, index)
        self.mlp = GatedMLP(config.hidden_size, config.intermediate_size)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        position_embeddings: tuple[Tensor, Tensor] | None = None,
        cache: Any = None,
        paid: list[Tensor] | None = None,
    ) -> Tensor:
        """`[B, S, W]` -> the same; the attention weights are appended to `paid` if that is a list."""
        mixed, weights = self.self_attn(
            self.input_layernorm(hidden_states), attention_mask, position_embeddings, cache, paid is not None
        )
        if paid is not None:
            paid.append(weights)
        hidden_states = hidden_states + mixed
        return hidden_states + self.mlp(self.post_attention_layernorm(hidden_states))


class LlamaBody(nn.Module):
    """Embeddings, layers and the last norm."""

    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__()
        self.config = config
        # Given a weight, it draws none: drawing one on the meta device imports torch._dynamo, for 1.5 s.
        weight = torch.empty(config.vocab_size, config.hidden_size)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, _weight=weight)
        self.layers = nn.ModuleList(LlamaLayer(config, index) for index in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self,
        input_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache: Any = None,
        use_cache: bool | None = None,
        output_attentions: bool = False,
    ) -> SimpleNamespace:
        """Hidden states `[B, S, W]`, as `last_hidden_state`, and `attentions` where asked for."""
        hidden = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        past = 0 if cache is None else cache.get_seq_length()
        if position_ids is None:
            position_ids = torch.arange(past, past + hidden.shape[1], device=hidden.device)[None]
        angles = self._angles(position_ids, hidden.dtype)
        mask = attention_mask if attention_mask is None or attention_mask.ndim == 4 else seen(attention_mask, past)
        explicit = output_attentions or self.config._attn_implementation == "eager"
        paid: list[Tensor] | None = [] if explicit else None
        for layer in self.layers:
            hidden = layer(
                hidden,
                attention_mask=mask,
                position_embeddings=angles,
                cache=cache,
                paid=paid,
            )
        attentions = tuple(paid or ()) if output_attentions else None
        return SimpleNamespace(last_hidden_state=self.norm(hidden), attentions=attentions)

    def _angles(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosine and sine `[B, S, D]` of the rotary positions (Su et al. 2021, arXiv 2104.09864, equation 34)."""
        width = self.config.head_dim
        steps = torch.arange(0, width, 2, device=positions.device).float() / width
        half = positions[..., None].float() * (1.0 / self.config.rope_theta**steps)
        whole = torch.cat([half, half], dim=-1)
        return whole.cos().to(dtype), whole.sin().to(dtype)


class Llama(nn.Module):
    """A causal language model of Llama's shape.

    Args:
        config: the values of a `config.json` of `transformers`.

    Raises:
        WeightsError: the config is of another architecture, or uses what is not made here.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.config = _checked(config)
        self.model = LlamaBody(self.config)
        self.lm_head = nn.Linear(self.config.hidden_size, self.config.vocab_size, bias=False)

    @property
    def base_model(self) -> nn.Module:
        return self.model

    def get_input_embeddings(self) -> nn.Module:
        return self.model.embed_tokens

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def set_attn_implementation(self, name: str) -> None:
        """`sdpa`, PyTorch's fused attention, or `eager`, explicit products."""
        self.config._attn_implementation = name

    def forward(
        self,
        input_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache: Any = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        output_attentions: bool = False,
    ) -> SimpleNamespace:
        """Next-token logits `[B, S, V]`, of the last positions only if `logits_to_keep` says how many.

        Args:
            input_ids: `[B, S]`, or `inputs_embeds`: `[B, S, W]`.
            attention_mask: `[B, N]`, non-zero where a position counts, or `[B, 1, S, N]`: a bias, or bools.
            position_ids: `[B, S]`; one after the other by default.
            cache: a cache with `update` and `get_seq_length`, as in `transformers`.
            use_cache: unused: the cache that is given is used.
        """
        body = self.model(
            input_ids=input_ids,
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            cache=cache,
            output_attentions=output_attentions,
        )
        logits = self.lm_head(body.last_hidden_state[:, -logits_to_keep:])
        return SimpleNamespace(logits=logits, attentions=body.attentions, cache=cache)


def turned(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary positions of `[B, S, H, D]`, angles `[B, S, D]`."""
    left, right = x.chunk(2, dim=-1)
    return torch.addcmul(x * cosine[:, :, None], torch.cat([-right, left], dim=-1), sine[:, :, None])


def seen(mask: Tensor, past: int) -> Tensor:
    """Which positions each new one sees, bool `[B, 1, S, N]`, from `[B, N]`: those before it that count, and itself."""
    total = mask.shape[1]
    order = torch.arange(total, device=mask.device)
    new = order[past:, None]
    return ((order <= new) & (mask != 0)[:, None, None, :]) | (order == new)


def load_llama(folder: str | Path) -> Llama:
    """A model as `from_pretrained` folders hold it, in float32, frozen, in eval mode.

    Raises:
        WeightsError: a file is absent or damaged, or of another architecture.
    """
    folder = Path(folder)
    try:
        config = json.loads((folder / "config.json").read_text())
        state = load_file(folder / "model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise WeightsError(f"{folder} holds no language model: {error}") from None
    with torch.device("meta"):
        model = Llama(config)
    state = {name: value.float() for name, value in state.items()}
    if config.get("tie_word_embeddings"):
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    try:
        model.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise WeightsError(f"{folder} holds another model than its config says: {error}") from None
    if config.get("tie_word_embeddings"):
        model.lm_head.weight = model.model.embed_tokens.weight
    return model.eval().requires_grad_(False)


def _checked(values: Mapping[str, Any]) -> SimpleNamespace:
    rope = values.get("rope_parameters") or values
    wrong = [f"{key} is {values[key]!r}" for key, wanted in PLAIN.items() if values.get(key, wanted) != wanted]
    wrong += [f"{key} is missing" for key in NEEDED if key not in values]
    if rope.get("rope_type", "default") != "default" or values.get("rope_scaling"):
        wrong.append("its rotary positions are scaled")
    if wrong:
        raise WeightsError(f"no plain Llama: {', '.join(wrong)}")
    known = {key: values[key] for key in NEEDED} | PLAIN
    return SimpleNamespace(**known, rope_theta=rope.get("rope_theta", 10000.0), _attn_implementation="sdpa")
