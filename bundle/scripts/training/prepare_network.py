"""Preparation of a network for training: on its device, activations kept or computed again, compiled or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from scripts.kernels.device import device_of
from scripts.kernels.frozen_bfloat16 import widen_frozen
from scripts.networks.qformer import QFormerLayer


def prepare_network(
    network: nn.Module,
    *,
    device: torch.device | str,
    activation_checkpointing: bool = False,
    compile: bool | str = False,
) -> nn.Module:
    """Move ``network`` to ``device`` and change how it computes, in place: names of parameters stay.

    Frozen bfloat16 weights are multiplied in float32 where the CPU would emulate bfloat16:
    `scripts.kernels.frozen_bfloat16`.

    Args:
        activation_checkpointing: keep only what goes into each Q-Former and language-model layer and compute the rest
            again in the backward pass: about a third slower, a fraction of the memory, the same numbers.
        compile: ``torch.compile`` the training step, with the default backend or the one named. Worth trying on a
            GPU; on a CPU it gains under 7 % and takes up to half a minute to start.
    """
    network = network.to(device_of(device))
    widen_frozen(network)
    if activation_checkpointing:
        checkpoint_activations(network)
    if compile:
        network.compile(**({"backend": compile} if isinstance(compile, str) else {}))
    return network


def checkpoint_activations(network: nn.Module) -> int:
    """Let every layer of the Q-Formers and of the language model run again in the backward pass; returns how many."""
    layers = [module for module in network.modules() if isinstance(module, QFormerLayer)]
    layers += language_model_layers(network)
    for layer in layers:
        layer.forward = _recomputed(layer.forward)
    return len(layers)


def language_model_layers(network: nn.Module) -> list[nn.Module]:
    """The transformer blocks of a caption network's language model, by the names ``transformers`` knows them under.

    A sharded block (:mod:`..sharding`) is of a class derived from the one with that name.
    """
    model = getattr(getattr(network, "language_model", None), "model", None)
    if model is None:
        return []
    names = set(getattr(model, "_no_split_modules", None) or ())
    return [module for module in model.modules() if any(kind.__name__ in names for kind in type(module).__mro__)]


def _recomputed(forward: Callable[..., Any]) -> Callable[..., Any]:
    def run(*arguments: Any, **named: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*arguments, **named)
        return checkpoint(forward, *arguments, use_reentrant=False, **named)

    return run
