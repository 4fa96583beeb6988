"""Sharding (FSDP): each process keeps a share of every block of a language model that does not fit one device.

The blocks hold nearly all parameters (95 % of OPT-2.7b); embeddings and output layer stay whole, because captions and
prompts are embedded outside the model. A block's parameters are gathered just before it computes and freed after it.
Only the frozen model is sharded: nothing of it is reduced, and what trains is averaged by DistributedDataParallel.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard

from scripts.distributed import world_size
from scripts.errors import InputError
from scripts.networks.language_model import LanguageModel
from scripts.training.prepare_network import language_model_layers


def sharded_language_model(network: nn.Module, device: torch.device | str) -> nn.Module:
    """Shard the frozen language model of a caption network over all processes, in place.

    Call it before the network is on ``device``: sharding moves one block at a time there and keeps this process's
    share, so that the device never holds the model whole.

    Every process must then run the model equally often: training and validation by loss do; for generation give all
    the same cases. Does nothing in a run of one process.

    Raises:
        InputError: the model is trained (LoRA), or its blocks are unknown.
    """
    if world_size() == 1:
        return network
    model: LanguageModel = network.language_model
    if model.tunable:
        raise InputError("a sharded language model stays frozen: set lora_rank to 0, or leave fsdp.json out.")
    layers = language_model_layers(network)
    if not layers:
        raise InputError(f"the blocks of {type(model.model).__name__} are not known, so it cannot be sharded.")
    # A group of its own: the gathers of blocks run between those of gradients, which are not waited for.
    mesh = DeviceMesh.from_group(dist.new_group(), torch.device(device).type)
    for layer in layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)  # each is its own root, which would stay whole
    network.generator.pack_weights = False  # a packed copy would be of this process's share
    return network
