"""Summed batches of any sizes make the step that one batch of all their cases makes; gradient descent shows it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from monai.utils import CommonKeys
from torch import Tensor, nn

from scripts.training import GradientGuard, PrepareCase, WeightedAccumulation, loss_of


class TokenLoss(nn.Module):
    """A loss that is the mean over real tokens, as a language model's is."""

    batch_names = ("input_ids", "attention_mask")

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.words = nn.Embedding(9, 4)

    def forward(self, _: None = None, *, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        real = attention_mask.bool()
        return {"loss": self.words(input_ids)[real].square().sum(-1).mean()}


def cases(lengths: list[int]) -> dict[str, Tensor]:
    ids = torch.randint(1, 9, (len(lengths), 6), generator=torch.Generator().manual_seed(len(lengths)))
    mask = torch.tensor([[1] * n + [0] * (6 - n) for n in lengths])
    return {"input_ids": ids, "attention_mask": mask}


def steps(batches: list[dict[str, Tensor]], together: int, seen: list[float] | None = None) -> Tensor:
    """The word vectors after one epoch of gradient descent."""
    network = TokenLoss()
    norms: list[float] = []

    def note(engine: Any) -> None:
        norms.append(engine.state.gradient_norm)
        if seen is not None:
            seen.append(float(engine.state.output[CommonKeys.LOSS]))

    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=batches,
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.5),
        loss_function=loss_of,
        prepare_batch=PrepareCase(network),
        accumulation_steps=together,
        decollate=False,
        train_handlers=[],
    )
    for handler in (WeightedAccumulation(unit="token"), GradientGuard()):
        handler.attach(trainer)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, note)
    trainer.run()
    assert all(norm > 0 for norm in norms)
    return network.words.weight.detach()


def joined(batches: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {key: torch.cat([batch[key] for batch in batches]) for key in batches[0]}


@pytest.mark.parametrize("together", [2, 3])
def test_summed_batches_are_one(together: int) -> None:
    """Five batches of 2 to 11 tokens: the last group is short of one batch."""
    batches = [cases(lengths) for lengths in ([1, 1], [6, 5], [3], [2, 4, 5], [6])]
    groups = [joined(batches[start : start + together]) for start in range(0, len(batches), together)]
    torch.testing.assert_close(steps(batches, together), steps(groups, 1), atol=1e-6, rtol=1e-6)


def test_recorded_losses_are_the_batches_own() -> None:
    batches = [cases(lengths) for lengths in ([1, 1], [6, 5], [3])]
    seen: list[float] = []
    steps(batches, 3, seen)
    with torch.no_grad():
        expected = [float(TokenLoss()(**batch)["loss"]) for batch in batches]
    assert seen == pytest.approx(expected, rel=1e-6)
