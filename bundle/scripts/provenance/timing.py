"""Timing of each step of a caption, measured from outside: nothing in the network knows of it.

Steps: ``read`` (files to tensor), ``encode <branch>`` (frozen encoder), ``qformer`` (all branches' Q-Formers),
``prefill`` (the language model reads the prefix), ``decode`` (all that generation does after it).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from scripts.networks.caption_network import CaptionNetwork


class StepTimer:
    """Seconds by step. On a GPU every reading of the clock waits for the queued work.

    Args:
        device: where the work runs.
        told: called with the name of each step as it begins; what it raises ends the work.
    """

    def __init__(self, device: torch.device | str = "cpu", told: Callable[[str], None] | None = None) -> None:
        self.device = torch.device(device)
        self.told = told
        self.seconds: dict[str, float] = {}

    def _begins(self, name: str) -> None:
        if self.told is not None:
            self.told(name)

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add the time spent inside to ``name``."""
        self._begins(name)
        start = self._now()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + self._now() - start

    @contextmanager
    def watch(self, network: CaptionNetwork) -> Iterator[StepTimer]:
        """Time the parts of ``network`` inside: encoders, Q-Formers, the language model's pass over the prefix."""
        handles = []
        for name, encoder in network.encoders.items():
            handles += self._hooks(encoder, f"encode {name}")
        for branch in network.branches.values():
            handles += self._hooks(branch, "qformer")
        handles += self._hooks(network.language_model.model, "prefill", only="inputs_embeds")
        try:
            yield self
        finally:
            for handle in handles:
                handle.remove()

    def _hooks(self, module: nn.Module, name: str, only: str = "") -> list[Any]:
        """Hooks around ``module``; ``only`` counts calls that have this keyword argument."""
        started: list[float] = []

        def before(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
            if not only or kwargs.get(only) is not None:
                self._begins(name)
                started.append(self._now())

        def after(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
            if started:
                self.seconds[name] = self.seconds.get(name, 0.0) + self._now() - started.pop()

        return [
            module.register_forward_pre_hook(before, with_kwargs=True),
            module.register_forward_hook(after, with_kwargs=True),
        ]

    def split_generation(self) -> None:
        """Turn the measured ``generate`` into ``decode``: what is left without Q-Formers and prefix."""
        whole = self.seconds.pop("generate", None)
        if whole is not None:
            inner = self.seconds.get("qformer", 0.0) + self.seconds.get("prefill", 0.0)
            self.seconds["decode"] = max(0.0, whole - inner)

    def rounded(self) -> dict[str, float]:
        """Seconds by step, to the tenth of a millisecond."""
        return {name: round(value, 4) for name, value in self.seconds.items()}


class TimedTransform:
    """A transform that notes its duration in ``item["read_seconds"]``."""

    def __init__(self, transform: Callable[[dict], dict]) -> None:
        self.transform = transform

    def __call__(self, item: dict) -> dict:
        start = time.perf_counter()
        done = self.transform(item)
        return {**done, "read_seconds": time.perf_counter() - start}
