"""GradCache: contrast over a large batch with the memory of a small one, and exactly its loss and gradient.

A contrastive loss needs the embeddings of all pairs at once, but not all their activations. Each chunk of the batch is
run without keeping activations; the loss is taken over all embeddings; when its gradient comes back, each chunk is run
again, with the same random numbers, and carries its part into the parameters. Gao et al., "Scaling Deep Contrastive
Learning Batch Size under Memory Limited Setup" (2021), here in the form of activation checkpoints, so that autocast,
gradient accumulation and DistributedDataParallel need not know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def in_chunks(
    function: Callable[..., tuple[Tensor, ...]], arguments: Sequence[Tensor | None], size: int
) -> tuple[Tensor, ...]:
    """``function(*arguments)`` computed ``size`` rows at a time, its results joined along their first dimension.

    Args:
        function: rows ``[b, ...]`` -> rows; may not look across rows and may not communicate with other processes.
        arguments: each ``[B, ...]`` with one B, or None.
        size: rows whose activations exist at a time.
    """
    rows = next(len(argument) for argument in arguments if argument is not None)
    results = []
    for start in range(0, rows, size):
        part = [None if argument is None else argument[start : start + size] for argument in arguments]
        if torch.is_grad_enabled():
            results.append(checkpoint(function, *part, use_reentrant=False))
        else:
            results.append(function(*part))
    return tuple(torch.cat(pieces) for pieces in zip(*results, strict=True))
