"""Two processes with half the batch each against one process with the whole: stage-1 losses and all gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from test_pretraining_network import PatchEncoder, branch
from torch import Tensor, nn

from child_process import Child
from scripts.data import collate_cases
from scripts.networks.pretraining_network import PretrainingNetwork

if not dist.is_available() or not dist.is_gloo_available():
    pytest.skip("this PyTorch has no gloo", allow_module_level=True)

SIZE, LENGTH = 8, 7
Images = Callable[[slice], dict[str, Tensor]]


class LearningEncoder(PatchEncoder):
    """Tokens with a trained scale."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(self.width))

    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image) * self.scale


def network(options: dict[str, Any]) -> PretrainingNetwork:
    torch.manual_seed(0)
    made = {name: branch(seed=seed, **options) for seed, name in enumerate(("general", "detail"))}
    return PretrainingNetwork(branches=made, weights={"sameness": 1.0}).train()


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


def views(counts: tuple[int, ...], cached: bool, part: slice) -> dict[str, Tensor]:
    """The cases of ``part`` with so many views each, collated as a data loader does: images, or cached tokens."""
    generator = torch.Generator().manual_seed(4)
    images = [torch.rand(count, 3, 32, 32, generator=generator) for count in counts][part]
    if not cached:
        return collate_cases([{"image": image[0] if len(image) == 1 else image} for image in images])
    tokens = [PatchEncoder()(image).flatten(0, 1) for image in images]
    return collate_cases([{"general_tokens": own, "detail_tokens": own} for own in tokens])


def single(part: slice) -> dict[str, Tensor]:
    return {"image": cases()[0][part]}


def losses_and_gradients(
    model: PretrainingNetwork, images: dict[str, Tensor], part: slice, length: int = LENGTH
) -> dict[str, Any]:
    _, ids, mask = (values[part] for values in cases())
    given = {"input_ids": ids[:, :length], "attention_mask": mask[:, :length]}
    for _ in range(1 + (model.branches["general"].memory is not None)):  # once to remember, once to learn from it
        losses = model(**images, **given)
    losses["loss"].backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return {"losses": {name: value.detach() for name, value in losses.items()}, "gradients": gradients}


def _half(folder: Path, rank: int, options: dict[str, Any], images: Images) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    try:
        half = slice(rank * SIZE // 2, (rank + 1) * SIZE // 2)
        result = losses_and_gradients(network(options), images(half), half, length=(LENGTH, 5)[rank])
        for values in result.values():
            for value in values.values():
                dist.all_reduce(value)
                value /= 2
        torch.save(result, folder / f"{rank}.pt")
        dist.barrier()
    finally:
        dist.destroy_process_group()


def assert_halves_equal_the_whole(folder: Path, options: dict[str, Any], images: Images = single) -> None:
    children = [Child(folder, _half, folder, rank, options, images) for rank in range(2)]
    whole = slice(0, SIZE)
    expected = losses_and_gradients(network(options), images(whole), whole)
    codes = [child.end() for child in children]
    assert codes == [0, 0], "\n".join(child.log.read_text() for child in children)
    for rank in range(2):
        actual = torch.load(folder / f"{rank}.pt", weights_only=True)
        for name, value in expected["losses"].items():
            torch.testing.assert_close(actual["losses"][name], value, atol=1e-5, rtol=1e-5, msg=name)
        for name, value in expected["gradients"].items():
            torch.testing.assert_close(actual["gradients"][name], value, atol=1e-5, rtol=1e-5, msg=name)
    assert max(float(value.abs().max()) for value in expected["gradients"].values()) > 1e-2


@pytest.mark.parametrize("duplicates", [False, True])
def test_two_halves_equal_the_whole(tmp_path: Path, duplicates: bool) -> None:
    assert_halves_equal_the_whole(tmp_path, {"duplicates_are_positives": duplicates})


def test_all_processes_remember_the_same_pairs(tmp_path: Path) -> None:
    assert_halves_equal_the_whole(tmp_path, {"remembered_pairs": 12, "duplicates_are_positives": True})


@pytest.mark.parametrize(
    "counts",
    [
        pytest.param((1, 1, 1, 1, 2, 2, 2, 2), id="longer cases in one process, no mask in either"),
        pytest.param((1, 1, 1, 1, 3, 1, 2, 1), id="a mask in one process"),
        pytest.param((2, 1, 1, 2, 2, 2, 2, 2), id="a mask in one process, equal lengths"),
        pytest.param((1, 2, 1, 1, 1, 3, 3, 1), id="masks of different lengths"),
    ],
)
@pytest.mark.parametrize("cached", [False, True])
def test_processes_may_hold_cases_of_different_view_counts(
    tmp_path: Path, counts: tuple[int, ...], cached: bool
) -> None:
    assert_halves_equal_the_whole(tmp_path, {}, partial(views, counts, cached))


def test_different_view_counts_in_chunks(tmp_path: Path) -> None:
    images = partial(views, (1, 1, 1, 1, 3, 1, 2, 1), True)
    assert_halves_equal_the_whole(tmp_path, {"contrastive_chunk": 2}, images)


@pytest.mark.parametrize("chunk", [0, 2])
def test_an_encoder_that_learns_does_so_from_other_processes_wrong_pairs(tmp_path: Path, chunk: int) -> None:
    assert_halves_equal_the_whole(tmp_path, {"encoder": LearningEncoder(), "contrastive_chunk": chunk})
