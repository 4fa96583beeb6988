"""The survey of a datalist as one picture: caption lengths, words, modalities, sizes, and a contact sheet."""

from __future__ import annotations

import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from scripts.data.look.survey import Survey
from scripts.errors import InputError

_COLOURS = ("#2a6f97", "#e07a5f", "#6a994e", "#8a5a83")


def draw_survey(survey: Survey, path: str | Path, title: str) -> None:
    """Write the picture as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = max(1, -(-len(survey.shown) // 6))
    figure = Figure(figsize=(13, 4.2 + 2.6 * rows), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=13)
    charts, sheet = figure.subfigures(2, 1, height_ratios=[3.8, 2.6 * rows])
    lengths, words, modalities, sizes = charts.subplots(1, 4)
    _draw_lengths(lengths, survey)
    _draw_bars(words, Counter(survey.words), "commonest words of captions", 15)
    total: Counter[str] = sum((part.modalities for part in survey.sections.values()), Counter())
    _draw_bars(modalities, total, "modality", 10)
    _draw_sizes(sizes, survey)
    _draw_sheet(sheet, survey, rows)
    figure.savefig(path)


def _draw_lengths(axes: Any, survey: Survey) -> None:
    longest = max((max(part.lengths, default=0) for part in survey.sections.values()), default=0)
    top = np.percentile(np.concatenate([part.lengths for part in survey.sections.values()]), 99) if longest else 1
    bins = np.linspace(0, max(top, 5) + 1, 25)
    for (name, part), colour in zip(survey.sections.items(), _COLOURS * 3, strict=False):
        share = np.full(len(part.lengths), 1 / max(1, len(part.lengths)))
        axes.hist(part.lengths, bins=bins, weights=share, histtype="step", lw=1.8, label=name, color=colour)
    axes.set_title("words a caption (up to the 99th percentile)", fontsize=9)
    axes.set_ylabel("share of the section", fontsize=8)
    axes.legend(fontsize=8, frameon=False)
    axes.tick_params(labelsize=8)


def _draw_bars(axes: Any, counts: Counter[str], title: str, most: int) -> None:
    common = counts.most_common(most)[::-1]
    axes.barh([name[:22] for name, _ in common], [count for _, count in common], color=_COLOURS[0])
    axes.set_title(title, fontsize=9)
    axes.tick_params(labelsize=8)


def _draw_sizes(axes: Any, survey: Survey) -> None:
    if survey.sizes:
        width, height = np.array(survey.sizes).T
        axes.scatter(width, height, s=8, alpha=0.4, color=_COLOURS[0], edgecolors="none")
    axes.set_title(f"width, height of {len(survey.sizes)} drawn images", fontsize=9)
    axes.tick_params(labelsize=8)


def _draw_sheet(sheet: Any, survey: Survey, rows: int) -> None:
    grid = np.atleast_1d(sheet.subplots(rows, 6)).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, (path, caption) in zip(grid, survey.shown, strict=False):
        try:
            axes.imshow(thumbnail(path), cmap="gray", vmin=0, vmax=1)
        except InputError:
            continue
        axes.set_title(textwrap.fill(textwrap.shorten(caption, 90, placeholder=" ..."), 32), fontsize=6.5)


def thumbnail(path: str, side: int = 192) -> np.ndarray:
    """An image as the network sees it by default, ``[H, W, 3]`` in 0 to 1: windowed, thinned to about ``side``."""
    from scripts.reading import read_case
    from scripts.windowing.window import window_image

    case = read_case(path)
    shown, _ = window_image(case.pixels[:1], case.meta)
    step = max(1, max(shown.shape[-2:]) // side)
    return np.moveaxis(np.asarray(shown[0][:, ::step, ::step]), 0, -1)
