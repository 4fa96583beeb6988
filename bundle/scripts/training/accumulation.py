"""Gradients summed over several batches equal those of one batch that holds all their cases.

A network averages its loss over a batch, and MONAI's trainer divides it by ``accumulation_steps``. So the tokens of a
short batch would weigh more than those of a full one, and a last group with fewer batches would take too small a step.
"""

from __future__ import annotations

import torch
from ignite.engine import Engine
from monai.engines.utils import IterationEvents
from monai.utils import CommonKeys

from scripts.metrics.validation_loss import averaged_over
from scripts.training.gradients import begins_group


class WeightedAccumulation:
    """Handler of a MONAI trainer: what is summed is always the mean over all cases or tokens seen since the last step.

    With ``w_i`` what batch i averages over and ``W_i`` the sum of the group's up to it, gradients held become
    ``G_i = (W_{i-1} G_{i-1} + w_i g_i) / W_i``, whatever the number of batches. Put it before handlers that look at
    gradients. The loss in ``engine.state.output`` stays the batch's own.

    Args:
        unit: what the network averages over: ``image`` or ``token``, as in
            :class:`scripts.metrics.validation_loss.ValidationLoss`.
    """

    def __init__(self, *, unit: str = "image") -> None:
        self.unit = unit
        self._weight = 0.0
        self._loss: torch.Tensor | None = None

    def attach(self, engine: Engine) -> None:
        """Weigh each loss before its backward pass."""
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self._weigh)
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self._restore)

    @torch.no_grad()
    def _held(self, engine: Engine) -> list[torch.Tensor]:
        parameters = [p for group in engine.optimizer.param_groups for p in group["params"]]
        return [p.grad for p in parameters if p.grad is not None]

    def _weigh(self, engine: Engine) -> None:
        if engine.accumulation_steps == 1:
            return
        before = 0.0 if begins_group(engine) else self._weight
        self._loss = engine.state.output[CommonKeys.LOSS]
        own = averaged_over(engine.state.batch, self.unit, self._loss.device)
        self._weight = before + own
        if before and (held := self._held(engine)):
            torch._foreach_mul_(held, before / self._weight)
        share = engine.accumulation_steps * own / self._weight  # the trainer divides by accumulation_steps
        engine.state.output[CommonKeys.LOSS] = self._loss * share

    def _restore(self, engine: Engine) -> None:
        if engine.accumulation_steps == 1:
            return
        engine.state.output[CommonKeys.LOSS] = self._loss
        self._loss = None
