"""Training curves as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_BOOKKEEPING = {"iteration", "epoch", "seconds", "learning_rate", "gradient_norm"}


def draw_curves(steps: Sequence[dict[str, float]], epochs: Sequence[dict[str, float]]) -> Any:
    """Draw losses, validation metrics, learning rate and gradient norm over iterations; returns a matplotlib figure.

    Args:
        steps: records with ``iteration``, ``loss`` and its parts, ``learning_rate``, ``gradient_norm``.
        epochs: records with ``iteration`` and ``validation_*`` metrics.
    """
    from matplotlib.figure import Figure  # without pyplot: no global state, no display

    figure = Figure(figsize=(10, 7), layout="constrained")
    losses, validation, rate, norm = figure.subplots(2, 2).flat
    names = dict.fromkeys(name for step in steps for name in step if name not in _BOOKKEEPING)
    for name in names:
        _line(losses, steps, name, linewidth=2 if name == "loss" else 1)
    metrics = dict.fromkeys(name for epoch in epochs for name in epoch if name.startswith("validation_"))
    for name in metrics:
        _line(validation, epochs, name, label=name.removeprefix("validation_"), marker="o")
    _line(rate, steps, "learning_rate")
    _line(norm, steps, "gradient_norm")
    for axes, title in ((losses, "loss"), (validation, "validation"), (rate, "learning rate"), (norm, "gradient norm")):
        axes.set(title=title, xlabel="iteration")
        axes.grid(alpha=0.3)
    for axes in (losses, validation):
        if axes.lines:
            axes.legend(fontsize="small")
    return figure


def _line(axes: Any, records: Sequence[dict[str, float]], name: str, label: str | None = None, **style: Any) -> None:
    points = [(record["iteration"], record[name]) for record in records if name in record and "iteration" in record]
    if points:
        axes.plot(*zip(*points, strict=True), label=label or name, **style)
