"""A validation loss is the mean over images or tokens: of any batches, and of any number of processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from ignite.engine import Engine
from monai.bundle import ConfigParser

from child_process import Child
from scripts.data import collate_cases
from scripts.distributed import gather
from scripts.errors import InputError
from scripts.metrics.validation_loss import ValidationLoss

LOSSES = torch.tensor([1.0] * 16 + [3.0])
LENGTHS = torch.arange(17) % 5 + 1
TOKEN_MEAN = float((LOSSES * LENGTHS).sum() / LENGTHS.sum())


def evaluated(metric: ValidationLoss, batches: list[list[int]]) -> float:
    """The metric over batches of cases, with a network that averages a batch's loss as the real ones do."""

    def step(_: Engine, batch: dict[str, Any]) -> dict[str, Any]:
        losses, mask = LOSSES[batch["case"]], batch["attention_mask"]
        if metric.unit == "image":
            return {"pred": {"loss": losses.mean()}}
        total = (losses[:, None] * mask).sum()
        return {"pred": {"loss": total / gather(mask.sum().float()[None]).mean()}}

    engine = Engine(step)
    metric.attach(engine, "val_loss")
    cases = [[{"case": torch.tensor(c), "input_ids": torch.ones(LENGTHS[c])} for c in batch] for batch in batches]
    return float(engine.run([collate_cases(batch) for batch in cases]).metrics["val_loss"])


@pytest.mark.parametrize(("unit", "mean"), [("image", 19 / 17), ("token", TOKEN_MEAN)])
def test_one_image_in_the_last_batch_counts_as_one(unit: str, mean: float) -> None:
    whole, cut = [list(range(17))], [list(range(16)), [16]]
    assert evaluated(ValidationLoss(unit=unit), whole) == pytest.approx(mean)
    assert evaluated(ValidationLoss(unit=unit), cut) == pytest.approx(mean)  # the mean of means is 2.0


def _half(folder: Path, rank: int) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    batches = [[list(range(8)), [16]], [list(range(8, 14)), [14, 15]]][rank]
    found = {unit: evaluated(ValidationLoss(unit=unit), batches) for unit in ("image", "token")}
    torch.save(found, folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_give_the_loss_of_one(tmp_path: Path) -> None:
    if not dist.is_available() or not dist.is_gloo_available():
        pytest.skip("this PyTorch has no gloo")
    children = [Child(tmp_path, _half, tmp_path, rank) for rank in range(2)]
    codes = [child.end() for child in children]
    assert codes == [0, 0], "\n".join(child.log.read_text() for child in children)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert found == {"image": pytest.approx(19 / 17), "token": pytest.approx(TOKEN_MEAN)}


@pytest.mark.parametrize(
    ("files", "place", "unit"),
    [
        (["train"], "validate#key_metric", "token"),
        (["pretrain"], "validate#key_metric", "image"),
        (["train", "best_caption"], "validate#evaluator#additional_metrics", "token"),
    ],
)
def test_configs_weigh_by_what_their_network_averages_over(files: list[str], place: str, unit: str) -> None:
    folder = Path(__file__).parents[2] / "bundle" / "configs"
    parser = ConfigParser()
    parser.read_config([str(folder / f"{name}.json") for name in files])
    metric = parser.get_parsed_content(f"{place}#val_loss")
    assert isinstance(metric, ValidationLoss) and metric.unit == unit


def test_other_units_are_refused() -> None:
    with pytest.raises(InputError, match="'image' or 'token', not 'batch'"):
        ValidationLoss(unit="batch")
