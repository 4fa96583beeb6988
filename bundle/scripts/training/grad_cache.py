"""GradCache: contrast over a large batch with the memory of a small one, and exactly its gradient.

A contrastive loss needs all embeddings at once, but not all activations: embeddings are computed without activations,
the loss is differentiated with respect to them, and each chunk is run again to carry its part of that gradient into
the parameters. Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup" (2021). Costs
one more forward pass of the embedding part.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from .random_state import capture_random_state, restore_random_state

Embeddings = tuple[torch.Tensor, ...]


def backward_in_chunks(
    chunks: Sequence[Any],
    *,
    embed: Callable[[Any], Embeddings],
    contrast: Callable[..., torch.Tensor],
    local_loss: Callable[[Any, Embeddings], torch.Tensor] | None = None,
    network: nn.Module | None = None,
) -> torch.Tensor:
    """Add to ``.grad`` what ``contrast(*embed(all chunks)) + mean of local losses`` would; returns that loss, detached.

    Random numbers (dropout) are the same in both passes over a chunk.

    Args:
        chunks: parts of the batch.
        embed: chunk -> embeddings, each ``[b, ...]``, with gradient.
        contrast: embeddings of all chunks, each ``[B, ...]`` -> scalar loss; may gather over processes inside.
        local_loss: chunk and its embeddings -> scalar mean over the chunk's cases, for objectives that do not look
            across chunks.
        network: the ``DistributedDataParallel`` module, whose gradients are then averaged once, after the last chunk.
    """
    states, parts = [], []
    with torch.no_grad():
        for chunk in chunks:
            states.append(capture_random_state())
            parts.append(embed(chunk))
    sizes = [len(part[0]) for part in parts]
    whole = [torch.cat(pieces).requires_grad_() for pieces in zip(*parts, strict=True)]
    loss = contrast(*whole)
    gradients = torch.autograd.grad(loss, whole)
    pieces = zip(*(gradient.split(sizes) for gradient in gradients), strict=True)
    total = loss.detach()
    for number, (chunk, state, gradient) in enumerate(zip(chunks, states, pieces, strict=True)):
        restore_random_state(state)
        with _unsynchronised(network, last=number == len(chunks) - 1):
            embeddings = embed(chunk)
            carried = sum((value * part).sum() for value, part in zip(embeddings, gradient, strict=True))
            if local_loss is not None:
                local = local_loss(chunk, embeddings) * (sizes[number] / sum(sizes))
                total = total + local.detach()
                carried = carried + local
            carried.backward()
    return total


def _unsynchronised(network: nn.Module | None, *, last: bool) -> contextlib.AbstractContextManager[Any]:
    if last or not isinstance(network, nn.parallel.DistributedDataParallel):
        return contextlib.nullcontext()
    return network.no_sync()
