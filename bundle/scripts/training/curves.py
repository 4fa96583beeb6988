"""Training curves as a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

_BOOKKEEPING = {"iteration", "epoch", "seconds", "learning_rate", "gradient_norm"}
_PREFIX = "validation_"
_BRANCHES = {"general_": "-", "detail_": "--"}
"""Lines of one measure share a colour; how they are drawn tells the branch."""

Records = Sequence[dict[str, float]]


def draw_curves(steps: Records, epochs: Records) -> Any:
    """Draw losses, validation, retrieval, query states, learning rate and gradient norm; returns a matplotlib figure.

    Each kind has axes of its own, over iterations; a kind that a run does not have is left out.

    Args:
        steps: records with ``iteration``, ``loss`` and its parts, ``learning_rate``, ``gradient_norm``.
        epochs: records with ``iteration`` and ``validation_*`` metrics.
    """
    from matplotlib.figure import Figure  # without pyplot: no global state, no display

    losses = _names(steps, lambda name: name not in _BOOKKEEPING)
    measured = _names(epochs, lambda name: name.startswith(_PREFIX))
    retrieval = [name for name in measured if "recall@" in name or "accuracy" in name]
    states = [name for name in measured if name.endswith(("_spread", "_cosine", "_temperature"))]
    others = [name for name in measured if name not in retrieval and name not in states]
    panels = [
        ("loss in training", steps, losses),
        ("validation", epochs, others),
        ("retrieval in validation", epochs, retrieval),
        ("query states in validation", epochs, states),
        ("learning rate", steps, _names(steps, lambda name: name == "learning_rate")),
        ("gradient norm", steps, _names(steps, lambda name: name == "gradient_norm")),
    ]
    panels = [panel for panel in panels if panel[2]]
    figure = Figure(figsize=(12, 3.8 * -(-len(panels) // 2)), layout="constrained")
    for index, (title, records, names) in enumerate(panels):
        axes = figure.add_subplot(-(-len(panels) // 2), 2, index + 1)
        _lines(axes, records, names)
        axes.set(title=title, xlabel="iteration")
        axes.grid(alpha=0.3)
        if records is epochs and names is retrieval:
            axes.set_ylim(-0.03, 1.03)
    return figure


def _names(records: Records, wanted: Callable[[str], bool]) -> list[str]:
    return [name for name in dict.fromkeys(name for record in records for name in record) if wanted(name)]


def _lines(axes: Any, records: Records, names: Sequence[str]) -> None:
    """One line a name, with a legend where there are several; a line of one point shows it."""
    colours: dict[str, str] = {}
    for name in names:
        points = [(record["iteration"], record[name]) for record in records if name in record and "iteration" in record]
        if not points:
            continue
        label = name.removeprefix(_PREFIX)
        branch = next((branch for branch in _BRANCHES if label.startswith(branch)), "")
        colour = colours.setdefault(label.removeprefix(branch), f"C{len(colours) % 10}")
        marker = "o" if len(points) == 1 or name.startswith(_PREFIX) else None
        style = {"color": colour, "linestyle": _BRANCHES.get(branch, "-"), "marker": marker, "markersize": 4}
        axes.plot(*zip(*points, strict=True), label=label, linewidth=2 if label == "loss" else 1.2, **style)
    if len(axes.lines) > 1:
        axes.legend(fontsize="x-small", ncols=2 if len(axes.lines) > 6 else 1)
