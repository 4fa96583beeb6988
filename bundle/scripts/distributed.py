"""Several processes: start and finish, wrap the network, and the few collective operations that objectives need.

With one process every collective operation is the identity.
"""

from __future__ import annotations

import os
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F


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


def gather_objects(value: Any) -> list[Any]:
    """The picklable values of all processes, in the order of their ranks."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def pad_to_common_length(ids: Tensor) -> Tensor:
    """Zero-pad ``[B, T]`` on the right to the longest T of all processes, so that rows can be gathered."""
    if world_size() == 1:
        return ids
    longest = torch.tensor(ids.shape[1], device=ids.device)
    dist.all_reduce(longest, op=dist.ReduceOp.MAX)
    return F.pad(ids, (0, int(longest) - ids.shape[1]))


def pad_tokens_to_common_length(tokens: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Zero-pad ``[B, N, C]`` to the longest N of all processes, so that cases of different view counts can be gathered.

    The mask ``[B, N]`` (True where a token is real) is None in the result on all processes or on none.
    """
    if world_size() == 1:
        return tokens, mask
    count = tokens.shape[1]
    agreed = torch.tensor([count, -count, int(mask is not None)], device=tokens.device)
    dist.all_reduce(agreed, op=dist.ReduceOp.MAX)
    longest, minus_shortest, masked = agreed.tolist()
    if mask is None and (masked or longest != -minus_shortest):
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
    if count == longest:
        return tokens, mask
    return F.pad(tokens, (0, 0, 0, longest - count)), F.pad(mask.bool(), (0, longest - count))


def local_device() -> torch.device:
    """The GPU that ``torchrun`` gave this process, or the CPU."""
    return (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if torch.cuda.is_available() else torch.device("cpu")
    )


def collective_device() -> torch.device:
    """Where a tensor must lie to be sent to other processes: this process's GPU with NCCL, else main memory."""
    if dist.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def start() -> None:
    """Join the process group that ``torchrun`` announced: NCCL on GPUs, gloo on CPUs."""
    if dist.is_initialized():
        return
    device = local_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")


def finish() -> None:
    """Leave the process group together: a process that leaves early can abort the others."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def parallel(network: nn.Module) -> nn.Module:
    """``network`` with gradients averaged over processes; itself where there is one process.

    Frozen parameters take no part: each process has read them itself, nothing is sent at the start nor in a step, and
    shards of a language model (:mod:`.sharding`) are left alone. A phase may leave a branch out, hence the search for
    unused parameters. Running statistics of batch normalisation that learns are the first process's in every pass:
    all validate the network that it saves.
    """
    if world_size() == 1:
        return network
    device = next(network.parameters()).device
    shared = {name for name, parameter in network.named_parameters() if parameter.requires_grad} | _statistics(network)
    own = [name for name in (*dict(network.named_parameters()), *dict(network.named_buffers())) if name not in shared]
    nn.parallel.DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(network, own)
    ids = [device.index] if device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(network, device_ids=ids, find_unused_parameters=True)


def _statistics(network: nn.Module) -> set[str]:
    """Names of the buffers of batch normalisation whose scale or shift learns."""
    return {
        f"{name}.{buffer}"
        for name, module in network.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
        and any(parameter.requires_grad for parameter in module.parameters())
        for buffer, _ in module.named_buffers()
    }
