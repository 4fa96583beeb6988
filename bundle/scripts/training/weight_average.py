"""Moving averages of weights: what is validated and kept is the mean of the last steps, not the last step alone.

Polyak & Juditsky, "Acceleration of Stochastic Approximation by Averaging" (1992), in the exponential form.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from ignite.engine import Engine, Events
from torch import Tensor, nn

from scripts.distributed import rank, world_size
from scripts.errors import InputError
from scripts.training.gradients import is_optimizer_step
from scripts.weights.loading import trained_names


class WeightAverage:
    """Handler of a MONAI trainer: after every step ``average = d average + (1 - d) weights``, in float32.

    With ``d_t = min(decay, (1 + t) / (10 + t))`` at step t, so that the start is soon forgotten. From the beginning of
    a validation until its best model is written the averages stand in the network; training then goes on with the
    weights as it left them. Statistics of batches are averaged alike, counters are taken as they are. Give it to
    ``Checkpoints`` as ``average`` and as one of its ``extras``.

    Args:
        network: what is trained, on its final device.
        decay: 0 keeps no average; .998 is the mean of about 500 steps.
        evaluator: whose validations see the averages.

    Raises:
        InputError: ``decay`` is not in [0, 1).
    """

    def __init__(self, *, network: nn.Module, decay: float = 0.0, evaluator: Engine | None = None) -> None:
        if not 0 <= decay < 1:
            raise InputError(f"weight_average is a decay from 0 (none) to below 1, such as 0.998, not {decay}")
        self.network = network
        self.decay = decay
        self.evaluator = evaluator
        self.steps = 0
        self.averages: dict[str, Tensor] = {}
        self.set_aside: dict[str, Tensor] = {}  # the training's own weights, while the averages are in the network

    def attach(self, engine: Engine) -> None:
        """Follow ``engine``'s steps; without a decay do nothing.

        Raises:
            InputError: weights are sharded over processes.
        """
        if self.decay == 0:
            return
        if any(hasattr(parameter, "to_local") for parameter in self.network.parameters()):
            raise InputError("weight_average needs whole weights in each process: set it to 0 with fsdp.json.")
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._follow)
        engine.add_event_handler(Events.EPOCH_STARTED, self.take_out)  # where no checkpoint did so
        if self.evaluator is not None:
            self.evaluator.add_event_handler(Events.STARTED, self.put_in)

    @torch.no_grad()
    def put_in(self, _: Any = None) -> None:
        """Put the averages into the network, its own weights aside."""
        if self.averages and not self.set_aside:
            weights = self._weights()
            self.set_aside = {name: value.clone() for name, value in weights.items()}
            for name, value in weights.items():
                value.copy_(self.averages[name])

    @torch.no_grad()
    def take_out(self, _: Any = None) -> None:
        """Put the network's own weights back."""
        for name, value in self._weights().items() if self.set_aside else ():
            value.copy_(self.set_aside[name])
        self.set_aside = {}

    def state_dict(self) -> dict[str, Any]:
        """Averages and steps; of several processes, which hold the same, the first's."""
        return {"steps": self.steps, "averages": dict(self.averages) if rank() == 0 else {}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up averages; all processes must call it together."""
        self.steps = int(state["steps"])
        weights = self._weights() if self.steps else {}
        self.averages = {name: torch.zeros_like(_precise(value)) for name, value in weights.items()}
        for name, value in self.averages.items():
            if rank() == 0:
                value.copy_(state["averages"][name])
            if world_size() > 1:
                dist.broadcast(value, src=0)

    def _weights(self) -> dict[str, Tensor]:
        state = self.network.state_dict()
        return {name: state[name] for name in trained_names(self.network)}

    @torch.no_grad()
    def _follow(self, engine: Engine) -> None:
        if not is_optimizer_step(engine):
            return
        weights = self._weights()
        if not self.averages:
            self.averages = {name: _precise(value).clone() for name, value in weights.items()}
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        for name, value in weights.items():
            if value.is_floating_point():
                self.averages[name].lerp_(_precise(value), 1 - decay)
            else:
                self.averages[name].copy_(value)


def _precise(value: Tensor) -> Tensor:
    """In float32 at least: in half precision small steps would be lost in the sum."""
    half = value.dtype in (torch.float16, torch.bfloat16)
    return value.detach().float() if half else value.detach()
