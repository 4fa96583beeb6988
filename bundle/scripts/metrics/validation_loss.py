"""The loss of a validation, as one number of all its images or tokens, whatever batches they come in.

Networks average a batch's loss themselves. The mean of such means would let one image that is left for the last batch
count as much as a whole batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Engine
from ignite.metrics import Average
from ignite.metrics.metric import reinit__is_reduced

from scripts.distributed import gather
from scripts.errors import InputError


class ValidationLoss(Average):
    """Metric of a MONAI evaluator: the mean of ``pred["loss"]``, batches weighed by what they average over.

    Several processes give the figure of one. Cases that a sampler repeats to fill the last batches count again: of N
    images fewer than one a process.

    Args:
        unit: what the network averages over: ``image`` (a contrastive loss, which knows no unit, is weighed by images
            too) or ``token``, those of captions, as :meth:`scripts.networks.language_model.LanguageModel.loss` does.
        device: where sums are kept, as in Ignite.

    Raises:
        InputError: another unit.
    """

    def __init__(self, *, unit: str = "image", device: str | torch.device = "cpu") -> None:
        if unit not in ("image", "token"):
            raise InputError(f"a validation loss is averaged over 'image' or 'token', not '{unit}'")
        self.unit = unit
        super().__init__(device=torch.device(device))

    @reinit__is_reduced
    def update(self, output: tuple[torch.Tensor, float]) -> None:
        """Add a batch: its mean loss, and how many it is the mean of."""
        loss, count = output
        self.accumulator = self.accumulator + loss.detach().to(self.accumulator) * count
        self.num_examples += count

    def iteration_completed(self, engine: Engine) -> None:
        """Take loss and count from the evaluator's output and batch."""
        loss = engine.state.output["pred"]["loss"].float()
        self.update((loss, averaged_over(engine.state.batch, self.unit, loss.device)))


def averaged_over(batch: Mapping[str, Any], unit: str, device: torch.device) -> float:
    """How many images, or tokens of captions, the loss of a batch is the mean of; the same on all processes."""
    if unit == "image":
        return len(next(iter(batch.values())))  # a collated batch has one of everything for each case
    tokens = batch["attention_mask"].sum().double().to(device)
    return gather(tokens[None]).mean().item()  # the loss is divided by the processes' mean, not by its own count
