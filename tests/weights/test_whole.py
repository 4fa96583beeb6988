"""A network takes no part of a checkpoint for the whole, through MONAI's way of loading and through PyTorch's."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from monai.networks.utils import copy_model_state
from torch import nn

from scripts.errors import WeightsError
from scripts.weights.saving import save_shards, trained_state
from scripts.weights.whole import take_trained


def made() -> nn.Module:
    """Two trained layers after a frozen one."""
    network = nn.Sequential(nn.Linear(4, 4).requires_grad_(False), nn.BatchNorm1d(4), nn.Linear(4, 3))
    take_trained(network)
    return network


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """The files of a checkpoint that was split."""
    files = save_shards(trained_state(made()), tmp_path / "model.pt", max_bytes=40)
    assert len(files) > 1
    return files


def test_a_shard_is_refused_by_every_reader(files: list[Path]) -> None:
    for file in files:
        state = torch.load(file, weights_only=True)
        with pytest.raises(WeightsError, match=f"one of the {len(files)} files of a checkpoint.*make package"):
            made().load_state_dict(state, strict=False)
        with pytest.raises(WeightsError, match="of the 7 tensors that training changes.*make package"):
            copy_model_state(made(), state)


def test_a_whole_checkpoint_and_a_state_of_its_own_are_taken() -> None:
    torch.manual_seed(1)
    source, target = made(), made()
    halves = {name: value.half() for name, value in trained_state(source).items() if value.is_floating_point()}
    state = trained_state(source) | halves
    copy_model_state(target, state)
    assert all(torch.equal(target.state_dict()[name], value.to(torch.float32)) for name, value in state.items())
    strictly = made()
    strictly.load_state_dict(state)  # the frozen part is not in it, and need not be
    assert torch.equal(strictly[2].bias, target[2].bias)
    with pytest.raises(RuntimeError, match="Unexpected key"):
        strictly.load_state_dict({**state, "other": torch.zeros(1)})
    target.load_state_dict(target.state_dict())
    target.load_state_dict(source.state_dict())
    assert torch.equal(target[0].weight, source[0].weight)
    copy_model_state(target, {"0.weight": torch.zeros(4, 4)})  # no part of what training changes
    assert not target[0].weight.any()
    with pytest.raises(WeightsError):  # a copy refuses as well, against its own tensors
        copy_model_state(copy.deepcopy(target), {"2.bias": torch.zeros(3)})


def test_a_part_inside_another_module_is_refused(files: list[Path]) -> None:
    outer = nn.ModuleDict({"inner": made()})
    state = {f"inner.{name}": value for name, value in torch.load(files[0], weights_only=True).items()}
    with pytest.raises(WeightsError, match="files of a checkpoint"):
        outer.load_state_dict(state, strict=False)


def test_what_the_network_has_under_another_name_is_left_out() -> None:
    network = nn.Linear(2, 2)
    take_trained(network, has_already="lm.*.lora_*")
    state = {**network.state_dict(), "lm.1.lora_A": torch.zeros(1)}
    nn.ModuleDict({"inner": network}).load_state_dict({f"inner.{name}": value for name, value in state.items()})
    with pytest.raises(RuntimeError, match="Unexpected key"):
        network.load_state_dict({**state, "lm.1.other": torch.zeros(1)})
