"""The language model as a step function: a prefix and parallel captions in, next-token logits out.

`SharedPrefixDecoder` runs the prefix once an image and puts the K captions of an image side by side on the *query*
axis of one row. A 4-D attention bias lets each see the prefix and its own tokens only, so keys and values are shared,
stay where they are, and a step's attention is one matrix product an image instead of K vector products.
`ReorderingDecoder` is for models that compute their own mask or positions: K batch rows an image, reordered each step.

Legend: B images, P prefix positions, D model width, K captions an image, V vocabulary.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from scripts.errors import InputError
from scripts.generation.kv_cache import cache_argument, slot_cache
from scripts.generation.llama import Llama

# Architectures whose attention takes the 4-D bias and the position ids it is given; each is compared with
# `transformers.generate` in the tests. Others use `ReorderingDecoder`.
SHARED_PREFIX_MODELS = frozenset(
    ("biogpt", "cohere", "gemma", "gpt2", "gpt_neox", "granite", "llama", "mistral")
    + ("olmo2", "opt", "phi", "phi3", "qwen2", "qwen3", "smollm3", "stablelm")
)


class Decoder(ABC):
    """Runs `language_model` over one batch of prefixes.

    Raises:
        InputError: the model takes no cache.
    """

    def __init__(self, language_model: nn.Module) -> None:
        self.model = language_model
        base = base_model(language_model)
        name = cache_argument(base)
        if name is None:
            raise InputError(f"{type(base).__name__} takes no cache of keys and values: choose another language model.")
        self.cache_name = name
        accepted = inspect.signature(base.forward).parameters
        self.accepts_positions = "position_ids" in accepted
        self.last_only: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}

    @abstractmethod
    def prefill(self, prefix: Tensor, mask: Tensor) -> Tensor:
        """Left-padded prefix `[B, P, D]` and mask `[B, P]` bool -> logits of the first new token `[B, V]`."""

    @abstractmethod
    def step(self, tokens: Tensor, parents: Tensor | None) -> Tensor:
        """Append `tokens [B, K]` -> logits `[B, K, V]`; caption k continues `parents[b, k]`, or itself (`None`)."""

    @abstractmethod
    def keep_rows(self, rows: Tensor) -> None:
        """Forget all images but `rows [N]`, indices into the present batch."""

    def _run_prefix(self, prefix: Tensor, mask: Tensor, cache: Any) -> Tensor:
        arguments = self.last_only | {self.cache_name: cache}
        if not bool(mask.all()):
            arguments["attention_mask"] = mask.long()
        if self.accepts_positions:
            arguments["position_ids"] = (mask.long().cumsum(dim=1) - 1).clamp(min=0)
        output = self.model(inputs_embeds=prefix, use_cache=True, **arguments)
        return output.logits[:, -1]


class SharedPrefixDecoder(Decoder):
    """K captions an image over one stored prefix; see the module's head."""

    def __init__(self, language_model: nn.Module, *, captions: int, max_new_tokens: int) -> None:
        super().__init__(language_model)
        self.captions = captions
        self.max_new_tokens = max_new_tokens

    def prefill(self, prefix: Tensor, mask: Tensor) -> Tensor:
        slots = prefix.shape[1] + self.captions * (self.max_new_tokens - 1)
        self.cache = slot_cache(base_model(self.model), slots)
        logits = self._run_prefix(prefix, mask, self.cache)
        self.positions = mask.sum(dim=1)
        self.bias = self._hidden(mask, slots)
        return logits

    def step(self, tokens: Tensor, parents: Tensor | None) -> Tensor:
        start = self.cache.get_seq_length()
        end = start + self.captions
        if parents is not None:
            seen = self.bias[..., :start]
            self.bias[..., :start] = seen.gather(2, parents[:, None, :, None].expand(-1, 1, -1, start))
        self.bias[:, 0, :, start:end].diagonal(dim1=1, dim2=2).zero_()
        logits = self.model(
            input_ids=tokens,
            attention_mask=self.bias[..., :end],
            position_ids=self.positions[:, None].expand(-1, self.captions),
            use_cache=True,
            **{self.cache_name: self.cache},
        ).logits
        self.positions = self.positions + 1
        return logits

    def keep_rows(self, rows: Tensor) -> None:
        self.cache.keep_rows(rows)
        self.positions = self.positions[rows]
        self.bias = self.bias[rows]

    def _hidden(self, mask: Tensor, slots: int) -> Tensor:
        """Additive bias `[B, 1, K, slots]`: 0 on the prefix, the type's minimum on padding and on slots to come."""
        dtype = self.cache.dtype
        bias = torch.full((mask.shape[0], 1, self.captions, slots), torch.finfo(dtype).min, dtype=dtype)
        bias = bias.to(mask.device)
        bias[..., : mask.shape[1]].masked_fill_(mask[:, None, None, :], 0.0)
        return bias


class ReorderingDecoder(Decoder):
    """K batch rows an image and the model's own cache; the prefix still runs once an image."""

    def __init__(self, language_model: nn.Module, *, captions: int) -> None:
        super().__init__(language_model)
        self.captions = captions

    def prefill(self, prefix: Tensor, mask: Tensor) -> Tensor:
        from transformers.cache_utils import DynamicCache  # takes seconds, and few models need it

        self.cache = DynamicCache() if isinstance(self.model, Llama) else DynamicCache(config=self.model.config)
        logits = self._run_prefix(prefix, mask, self.cache)
        self.cache.batch_repeat_interleave(self.captions)
        self.mask = mask.long().repeat_interleave(self.captions, dim=0)
        return logits

    def step(self, tokens: Tensor, parents: Tensor | None) -> Tensor:
        if parents is not None:
            first = torch.arange(tokens.shape[0], device=tokens.device)[:, None] * self.captions
            self.cache.reorder_cache((parents + first).flatten())
        self.mask = torch.cat([self.mask, self.mask.new_ones(self.mask.shape[0], 1)], dim=1)
        arguments: dict[str, Any] = {self.cache_name: self.cache}
        if self.accepts_positions:
            arguments["position_ids"] = self.mask.sum(dim=1, keepdim=True) - 1
        logits = self.model(
            input_ids=tokens.reshape(-1, 1),
            attention_mask=self.mask,
            use_cache=True,
            **arguments,
        ).logits
        return logits[:, -1].unflatten(0, tokens.shape)

    def keep_rows(self, rows: Tensor) -> None:
        captions = torch.arange(self.captions, device=rows.device)
        flat = (rows[:, None] * self.captions + captions).flatten()
        self.cache.batch_select_indices(flat)
        self.mask = self.mask[flat]


def base_model(language_model: nn.Module) -> nn.Module:
    """The transformers model inside a PEFT wrapper, or the model itself."""
    inner = getattr(language_model, "get_base_model", None)
    return inner() if callable(inner) else language_model


def supports_shared_prefix(language_model: nn.Module, length: int) -> bool:
    """Whether `SharedPrefixDecoder` is right for this model and for sequences of `length` positions."""
    config = base_model(language_model).config
    window = getattr(config, "sliding_window", None)
    return (
        config.model_type in SHARED_PREFIX_MODELS
        and getattr(config, "_attn_implementation", None) in ("sdpa", "eager")
        and (window is None or window >= length)
    )
