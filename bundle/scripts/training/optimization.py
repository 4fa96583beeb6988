"""Optimizer and learning-rate schedule."""

from __future__ import annotations

import fnmatch
import logging
import math
from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Events
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from scripts.errors import InputError
from scripts.training.gradients import is_optimizer_step

logger = logging.getLogger(__name__)


def adamw(
    network: nn.Module,
    *,
    learning_rate: float = 1e-4,
    weight_decay: float = 0.05,
    rate_ratios: Mapping[str, float] | None = None,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    fused: bool | None = None,
) -> torch.optim.AdamW:
    """AdamW over the trained parameters; no decay on biases and other one-dimensional parameters.

    Args:
        network: on its final device; parameters without gradient are left out.
        learning_rate: peak learning rate.
        rate_ratios: pattern of parameter names (``*`` wildcards) to the part of the learning rate that they get, such
            as ``{"branches.*.qformer.*": 0.2}`` for Q-Formers that stage 1 has trained; the first that fits counts.
        weight_decay: of matrices.
        betas, eps: moments and stabiliser.
        fused: one kernel for all parameters, 9x faster than the default loop on CPU; None uses it where it exists.

    Raises:
        InputError: nothing in the network is trained, or a pattern fits nothing that is.
    """
    named = [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]
    if not named:
        raise InputError("no parameter of the network requires gradient; unfreeze a branch to train it.")
    ratios = dict(rate_ratios or {})
    unused = [p for p in ratios if not any(fnmatch.fnmatchcase(name, p) for name, _ in named)]
    if unused:
        raise InputError(
            f"learning_rate_ratios: nothing that is trained is called {unused[0]!r}; names are as {named[0][0]}"
        )
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in named:
        ratio = next((ratio for pattern, ratio in ratios.items() if fnmatch.fnmatchcase(name, pattern)), 1.0)
        decay = weight_decay if parameter.ndim >= 2 and not name.endswith("bias") else 0.0
        groups.setdefault((float(ratio), decay), []).append(parameter)
    if fused is None:
        fused = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for _, p in named)
    listed = [
        {"params": groups[key], "weight_decay": key[1], "lr": learning_rate * key[0]}
        for key in sorted(groups, reverse=True)
    ]
    return torch.optim.AdamW(listed, lr=learning_rate, betas=tuple(betas), eps=eps, fused=fused)


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any], *, scheduled: bool) -> None:
    """Take up moments and step counts; weight decay, betas and the like stay as this run's configuration has them.

    Args:
        optimizer: built as for a fresh run.
        state: another one's ``state_dict()``.
        scheduled: a schedule sets the learning rate, so the saved one is taken; else the configured one stays.

    Raises:
        ValueError: other parameters.
    """
    saved = {"params", "initial_lr"} | ({"lr"} if scheduled else set())
    own = [{key: value for key, value in group.items() if key not in saved} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, configured in zip(optimizer.param_groups, own, strict=True):
        changed = {key: value for key, value in configured.items() if group.get(key) != value}
        if changed:
            logger.info("the checkpoint's optimizer had other values; the configured ones count: %s.", changed)
        group.update(configured)


class WarmupCosine(LRScheduler):
    """Linear warm-up, then half a cosine down to ``final_ratio``, per step.

    The rate is a function of the step alone: its state is the step count, so a resumed run with more epochs follows
    the longer curve instead of the old one, and a changed ``learning_rate`` takes effect.

    Args:
        optimizer: its groups' rates are the peak.
        total_steps: steps until the end of the curve; the rate stays there afterwards.
        warmup_steps: steps of the linear part.
        warmup_start_ratio: first rate as a part of the peak.
        final_ratio: last rate as a part of the peak.

    Raises:
        InputError: ``total_steps`` is not above ``warmup_steps``.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        total_steps: int,
        warmup_steps: int = 0,
        warmup_start_ratio: float = 0.01,
        final_ratio: float = 0.0,
    ) -> None:
        if total_steps <= warmup_steps or warmup_steps < 0:
            raise InputError(f"a schedule of {total_steps} steps cannot hold {warmup_steps} warm-up steps.")
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps
        self.warmup_start_ratio = warmup_start_ratio
        self.final_ratio = final_ratio
        super().__init__(optimizer)

    def ratio(self, step: int) -> float:
        """Return rate over peak at ``step``, counted from 0."""
        if step < self.warmup_steps:
            return self.warmup_start_ratio + (1 - self.warmup_start_ratio) * step / self.warmup_steps
        part = min(1.0, (step - self.warmup_steps) / (self.total_steps - self.warmup_steps))
        return self.final_ratio + (1 - self.final_ratio) * 0.5 * (1 + math.cos(math.pi * part))

    def step(self, epoch: int | None = None) -> None:
        """Go to the next step, or to ``epoch``. With summed gradients this is called more often than the optimizer."""
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        self._apply()

    def get_lr(self) -> list[float]:
        return [base * self.ratio(self.last_epoch) for base in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.last_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the step; call it after the optimizer's ``load_state_dict``, which brings old rates back."""
        self.last_epoch = state_dict["step"]
        self._apply()

    def _apply(self) -> None:
        self._last_lr = self.get_lr()
        for group, rate, base in zip(self.optimizer.param_groups, self._last_lr, self.base_lrs, strict=True):
            group["lr"], group["initial_lr"] = rate, base


class StepSchedule:
    """Handler of a MONAI trainer: one schedule step per optimizer step, also when gradients are summed over batches.

    Args:
        scheduler: its ``total_steps`` then counts optimizer steps, batches over ``accumulation_steps``, rounded up
            in each epoch.
    """

    def __init__(self, scheduler: LRScheduler) -> None:
        self.scheduler = scheduler

    def attach(self, engine: Any) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Any) -> None:
        if is_optimizer_step(engine):
            self.scheduler.step()
