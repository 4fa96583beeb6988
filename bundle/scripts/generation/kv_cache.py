"""Keys and values of one prefix and of everything that several captions added to it, stored once, never moved.

Slots of a row, with P prefix positions and K captions written in parallel: `[P prefix | K step 0 | K step 1 ...]`.
Which slots a caption may see is the business of the attention bias (`scripts.generation.decoders`), so a beam that
changes its parent costs a row of that bias instead of a copy of its keys and values.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import cache, partial

import torch
from torch import Tensor, nn

from scripts.generation.llama import Llama

CACHE_ARGUMENTS = ("cache", "past_key_values")  # transformers from 5.24 on, and our own Llama; transformers before


class SlotLayer:
    """Keys and values of one layer in buffers of a fixed size `[B, H, capacity, D]`, filled from the left."""

    is_sliding = False
    is_compileable = False

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity
        self.length = 0
        self.is_initialized = False

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys = key_states.new_empty(*key_states.shape[:2], self.capacity, key_states.shape[3])
        self.values = value_states.new_empty(*value_states.shape[:2], self.capacity, value_states.shape[3])
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args, **kwargs) -> tuple[Tensor, Tensor]:
        """Append `[B, H, n, D]` and return all filled slots `[B, H, length, D]` (views, not copies)."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, self.length = self.length, self.length + key_states.shape[2]
        self.keys[:, :, start : self.length] = key_states
        self.values[:, :, start : self.length] = value_states
        if start == 0:
            return key_states, value_states
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]

    def keep_rows(self, rows: Tensor) -> None:
        """Forget all batch rows but `rows [N]`."""
        self.keys = self.keys.index_select(0, rows)
        self.values = self.values.index_select(0, rows)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        return self.length

    def get_max_length(self) -> int:
        return self.capacity


class Slots:
    """What a cache of :class:`SlotLayer` offers beside the methods that a language model calls."""

    layers: Sequence[SlotLayer]

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the stored keys; known after the first forward pass."""
        return self.layers[0].dtype

    def keep_rows(self, rows: Tensor) -> None:
        """Forget all batch rows but `rows [N]`."""
        for layer in self.layers:
            layer.keep_rows(rows)


class LlamaSlots(Slots):
    """The cache of our own `Llama`."""

    def __init__(self, capacity: int, layers: int) -> None:
        self.layers = [SlotLayer(capacity) for _ in range(layers)]

    def update(self, keys: Tensor, values: Tensor, index: int) -> tuple[Tensor, Tensor]:
        return self.layers[index].update(keys, values)

    def get_seq_length(self) -> int:
        return self.layers[0].get_seq_length()


def cache_argument(module: nn.Module) -> str | None:
    """The argument in which a language model, or a layer of one, is given its cache; `None`: it takes none."""
    accepted = inspect.signature(module.forward).parameters
    return next((name for name in CACHE_ARGUMENTS if name in accepted), None)


def slot_cache(model: nn.Module, capacity: int) -> Slots:
    """An empty cache for `model`, with `capacity` slots a row: as `transformers` wants it, unless the model is ours."""
    if isinstance(model, Llama):
        return LlamaSlots(capacity, model.config.num_hidden_layers)
    layer, slots = _transformers_classes()
    return slots(layer_class_to_replicate=partial(layer, capacity))


@cache
def _transformers_classes() -> tuple[type[SlotLayer], type[Slots]]:
    """Twins of a layer and a cache that models of `transformers` accept; made once."""
    from transformers.cache_utils import Cache, CacheLayerMixin  # takes seconds: only with a model of that library

    class Layer(SlotLayer, CacheLayerMixin):
        pass

    class SlotCache(Slots, Cache):
        pass

    return Layer, SlotCache
