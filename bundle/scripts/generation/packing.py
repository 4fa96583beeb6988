"""A language model's twin with weights laid out for decoding on a CPU, see `packed_linear` and `packed_llama`."""

from __future__ import annotations

import copy

import torch
from torch import nn

from scripts.generation.packed_llama import PackedLlamaLayer, is_llama_layer
from scripts.kernels.packed_linear import PackedLinear, type_can_be_packed

AUTOMATIC_LIMIT = 2 * 1024**3  # bytes: larger models are packed only on request


def can_be_packed(model: nn.Module) -> bool:
    """Whether this build, the model's device and its types allow packed weights."""
    first = next(model.parameters())
    return first.device.type == "cpu" and torch.backends.mkldnn.enabled and type_can_be_packed(first.dtype)


def worth_packing(model: nn.Module) -> bool:
    """Whether to pack without being asked: possible, all weights frozen, and a copy of them is small."""
    size = sum(linear.weight.nbytes for linear in model.modules() if isinstance(linear, nn.Linear))
    frozen = not any(parameter.requires_grad for parameter in model.parameters())
    return can_be_packed(model) and frozen and size <= AUTOMATIC_LIMIT


def packed(model: nn.Module) -> nn.Module:
    """A twin of `model` that shares its parameters and buffers and has a `PackedLinear` for each `nn.Linear`.

    Layers of Llama's shape have a `PackedLlamaLayer` instead.
    """
    if type(model) is nn.Linear:
        return PackedLinear(model)
    if is_llama_layer(model):
        return PackedLlamaLayer(model)
    twin = copy.copy(model)
    twin._modules = {name: child and packed(child) for name, child in model._modules.items()}
    return twin
