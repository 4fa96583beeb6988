"""The few collective operations that the objectives need; with one process each is the identity."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

__all__ = ["gather", "gather_with_gradient", "pad_to_common_length", "rank", "world_size"]


def world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


class _AllGather(torch.autograd.Function):
    """All-gather along dimension 0 whose backward sums each process's gradient of this process's rows."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, local: Tensor) -> Tensor:
        parts = [torch.empty_like(local) for _ in range(world_size())]
        dist.all_gather(parts, local.contiguous())
        ctx.rows = local.shape[0]
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        start = rank() * ctx.rows
        return gradient[start : start + ctx.rows]


def gather_with_gradient(local: Tensor) -> Tensor:
    """``[B, ...] -> [W * B, ...]`` over W processes, in rank order, differentiable.

    Every process must hold the same number of rows. Averaging parameter gradients over processes afterwards (as
    DistributedDataParallel does) gives the gradient of the mean of the processes' losses.
    """
    return local if world_size() == 1 else _AllGather.apply(local)


@torch.no_grad()
def gather(local: Tensor) -> Tensor:
    """``[B, ...] -> [W * B, ...]`` over W processes, in rank order, without gradient."""
    if world_size() == 1:
        return local
    parts = [torch.empty_like(local) for _ in range(world_size())]
    dist.all_gather(parts, local.contiguous())
    return torch.cat(parts)


def pad_to_common_length(ids: Tensor) -> Tensor:
    """Zero-pad ``[B, T]`` on the right to the longest T of all processes, so that rows can be gathered."""
    if world_size() == 1:
        return ids
    longest = torch.tensor(ids.shape[1], device=ids.device)
    dist.all_reduce(longest, op=dist.ReduceOp.MAX)
    return F.pad(ids, (0, int(longest) - ids.shape[1]))
