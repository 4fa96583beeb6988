"""Resumable part of a network: what a checkpoint holds."""

from __future__ import annotations

import torch
from torch import nn

from scripts.weights.loading import trained_names


def bare_network(network: nn.Module) -> nn.Module:
    """Return the network inside ``DistributedDataParallel`` or ``torch.compile``."""
    while True:
        inner = getattr(network, "module", None) or getattr(network, "_orig_mod", None)
        if not isinstance(inner, nn.Module):
            return network
        network = inner


def resumable_names(network: nn.Module) -> list[str]:
    """Return the names of all that training changes: trained parameters, and persistent buffers beside them.

    A buffer counts when the innermost module around it that has parameters has a trained one: queues, counters and
    batch statistics of trained parts, not the constants of frozen encoders.
    """
    persistent = network.state_dict(keep_vars=True)
    names = [name for name in trained_names(network) if name in persistent]
    for name, value in network.named_buffers():
        owner = name.rpartition(".")[0]
        while owner and next(network.get_submodule(owner).parameters(), None) is None:
            owner = owner.rpartition(".")[0]
        trained = any(parameter.requires_grad for parameter in network.get_submodule(owner).parameters())
        if trained and name in persistent and name not in names and isinstance(value, torch.Tensor):
            names.append(name)
    return names
