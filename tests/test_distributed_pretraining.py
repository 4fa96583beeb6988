"""Two processes with half the batch each against one process with the whole: stage-1 losses and all gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from child_process import Child
from scripts.pretraining import PretrainingNetwork
from test_pretraining import branch

if not dist.is_available() or not dist.is_gloo_available():
    pytest.skip("this PyTorch has no gloo", allow_module_level=True)

SIZE, LENGTH = 8, 7


def network(duplicates: bool) -> PretrainingNetwork:
    torch.manual_seed(0)
    made = {
        name: branch(seed=seed, duplicates_are_positives=duplicates) for seed, name in enumerate(("general", "detail"))
    }
    return PretrainingNetwork(branches=made).train()


def cases() -> tuple[Tensor, Tensor, Tensor]:
    """Images and captions whose lengths differ between the two halves, two captions alike across them."""
    generator = torch.Generator().manual_seed(3)
    image = torch.rand(SIZE, 3, 32, 32, generator=generator)
    ids = torch.randint(1, 49, (SIZE, LENGTH), generator=generator)
    mask = torch.ones(SIZE, LENGTH, dtype=torch.long)
    mask[1, 4:] = 0
    mask[4:, 5:] = 0  # the second half's longest caption is shorter
    ids[:, 0] = 1
    ids[6], mask[6] = ids[1], mask[1]
    return image, ids * mask, mask


def losses_and_gradients(model: PretrainingNetwork, part: slice, length: int = LENGTH) -> dict[str, Any]:
    image, ids, mask = (values[part] for values in cases())
    losses = model(image, input_ids=ids[:, :length], attention_mask=mask[:, :length])
    losses["loss"].backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return {"losses": {name: value.detach() for name, value in losses.items()}, "gradients": gradients}


def _half(folder: Path, rank: int, duplicates: bool) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    try:
        half = slice(rank * SIZE // 2, (rank + 1) * SIZE // 2)
        result = losses_and_gradients(network(duplicates), half, length=(LENGTH, 5)[rank])
        for values in result.values():
            for value in values.values():
                dist.all_reduce(value)
                value /= 2
        torch.save(result, folder / f"{rank}.pt")
        dist.barrier()
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("duplicates", [False, True])
def test_two_halves_equal_the_whole(tmp_path: Path, duplicates: bool) -> None:
    children = [Child(tmp_path, _half, tmp_path, rank, duplicates) for rank in range(2)]
    expected = losses_and_gradients(network(duplicates), slice(0, SIZE))
    codes = [child.end() for child in children]
    assert codes == [0, 0], "\n".join(child.log.read_text() for child in children)
    for rank in range(2):
        actual = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, value in expected["losses"].items():
            torch.testing.assert_close(actual["losses"][name], value, atol=1e-5, rtol=1e-5, msg=name)
        for name, value in expected["gradients"].items():
            torch.testing.assert_close(actual["gradients"][name], value, atol=1e-5, rtol=1e-5, msg=name)
    assert max(float(value.abs().max()) for value in expected["gradients"].values()) > 1e-2
