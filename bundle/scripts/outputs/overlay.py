"""Output ``overlay``: a PNG a case that shows, for each word and branch, what the word rests on.

The image stands in its own proportions, without the letterbox. Heat is scaled from the map's mean to its highest value,
so that a map that prefers no place stays dark; the outline is the region that SAM's mask decoder draws around the peak
of the detail branch's map, or of all maps together for occlusion and the reader.

Shape legend: W words, V views, S side of the letterboxed square.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

from scripts.atomic import write_atomically
from scripts.errors import InputError
from scripts.outputs.captioned_case import CaptionedCase
from scripts.outputs.record import source_name
from scripts.outputs.report_writer import FolderWriter

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from scripts.explanation import Explanation

BACK, INK, FAINT, OUTLINE = "#14171c", "#f2f4f7", "#9aa4b2", "#39d5ff"
TILE = 2.15
"""Inches of a picture's longer side."""
MOST_WORDS = 5
"""Words in a row of pictures; more are wrapped below."""
MARKS = " .,;:()[]"


class OverlayWriter(FolderWriter):
    """One PNG a case in ``output_dir/overlay``.

    Args:
        output_dir: the run's folder.
        all_words: also "of", "the", "showing" and their like, which have a probability but no map.
        dots: resolution, dots an inch.
    """

    folder = "overlay"
    needs_explanation = True

    def __init__(self, *, output_dir: Path, all_words: bool = False, dots: int = 110) -> None:
        super().__init__(output_dir=output_dir)
        self.all_words = all_words
        self.dots = dots

    def add(self, case: CaptionedCase) -> list[Path]:
        """Draw one case.

        Raises:
            InputError: it has no explanation, or no branch has a map.
        """
        if case.record.get("error"):
            return []
        path = self.directory / f"{self.names.stem(case.source)}.png"
        figure = draw_overlay(case, all_words=self.all_words)
        write_atomically(
            path,
            lambda file: figure.savefig(file, format="png", dpi=self.dots, facecolor=BACK, metadata={"Software": ""}),
        )
        return [path]


def draw_overlay(case: CaptionedCase, *, all_words: bool = False) -> Figure:
    """The picture of one case: the image with its caption, then a row a branch, a column a word.

    Raises:
        InputError: the case has no explanation, no image, or no branch has a map.
    """
    from scripts.explanation.words import content_words

    explanation = _explained(case)
    chosen = list(range(len(explanation.words))) if all_words else content_words(explanation.words)
    chosen = chosen or list(range(len(explanation.words)))
    meta = case.record["trace"]["input"]
    size = case.image.shape[-1]
    fine = {name: _fine(maps, size) for name, maps in explanation.maps.items()}
    regions = explanation.regions
    across = -(-len(chosen) // -(-len(chosen) // MOST_WORDS))  # lines of about the same length
    lines = [chosen[start : start + across] for start in range(0, len(chosen), across)]
    rows = [(name, words) for words in lines for name in fine if bool((explanation.share[name][words] > 0.005).any())]
    figure, grid = _canvas(case, len(rows), across, _box(meta, 0, size))
    for row, (name, words) in enumerate(rows):
        for column, word in enumerate(words):
            heat = fine[name][word]
            view = int(heat.flatten(1).amax(1).argmax())
            outline = None
            if regions is not None and (regions[word] > 0).any() and name == explanation.outlined(word):
                view = int((regions[word] > 0).flatten(1).sum(1).argmax())
                outline = F.interpolate(regions[word, view][None, None], size=(size, size), mode="bilinear")[0, 0]
            axes = grid[row][column + 1]
            _tile(axes, case.image[view], heat[view], _box(meta, view, size), outline)
            _label(axes, explanation, word, name, column, view=view if len(case.image) > 1 else None)
    return figure


def _explained(case: CaptionedCase) -> Explanation:
    name = source_name(case.source)
    if case.explanation is None or case.image is None:
        raise InputError(f"{name}: was captioned without an explanation: set explain to true, or leave overlay out")
    if not case.explanation.maps:
        raise InputError(f"{name}: {'; '.join(case.explanation.notes)}, so there is nothing to draw: leave overlay out")
    if not case.explanation.words:
        raise InputError(f"{name}: its caption is empty, so there is nothing to draw: leave overlay out")
    return case.explanation


def _fine(maps: torch.Tensor, size: int) -> torch.Tensor:
    """``[W, V, S, S]`` of a branch's maps, smooth between the centres of its cells."""
    views = maps[:, None] if maps.ndim == 3 else maps
    return F.interpolate(views, size=(size, size), mode="bicubic", align_corners=False).clamp_min(0)


def _box(meta: Mapping[str, Any], view: int, size: int) -> tuple[int, int, int, int]:
    from scripts.explanation.geometry import content_box, file_of_view

    resize = file_of_view(meta, view)[0].get("resize")
    return content_box(resize, size) if resize else (0, 0, size, size)


def _canvas(
    case: CaptionedCase, rows: int, columns: int, box: tuple[int, int, int, int]
) -> tuple[Figure, list[list[Axes]]]:
    """Figure with the plain image and the caption at the left, and ``rows`` x ``columns`` axes beside."""
    from matplotlib.figure import Figure

    top, left, bottom, right = box
    shape = (bottom - top, right - left)
    height, width = (TILE * length / max(shape) for length in shape)
    width = max(width, 1.25)
    head, gap = 0.62, 0.46
    figure = Figure(figsize=((width + 0.14) * (columns + 1) + 0.5, head + (height + gap) * rows + 0.12), facecolor=BACK)
    total_width, total_height = figure.get_size_inches()
    record = case.record
    caption = textwrap.shorten(str(record.get("caption") or ""), 260)
    figure.text(0.14 / total_width, 1 - 0.3 / total_height, textwrap.fill(caption, int(total_width * 11)), color=INK,
                fontsize=11.5, fontweight="bold", va="center")  # fmt: skip
    grid: list[list[Axes]] = []
    for row in range(rows):
        y = total_height - head - (height + gap) * row - gap - height + 0.1
        line = []
        for column in range(columns + 1):
            x = 0.14 + (width + 0.14) * column + (0.3 if column else 0.0)
            axes = figure.add_axes((x / total_width, y / total_height, width / total_width, height / total_height))
            axes.axis("off")
            line.append(axes)
        grid.append(line)
    plain = grid[0][0]
    plain.imshow(_shown(case.image[0], box))
    name = textwrap.shorten(Path(source_name(case.source)).name, 30, placeholder="...")
    plain.set_title(name, color=FAINT, fontsize=8, pad=4)
    foot = "What each word rests on.\nFor research, not for diagnosis."
    plain.text(0, -0.04, foot, color=FAINT, fontsize=6.5, va="top", transform=plain.transAxes)
    return figure, grid


def _shown(image: torch.Tensor, box: Sequence[int]) -> np.ndarray:
    top, left, bottom, right = box
    return image[:, top:bottom, left:right].permute(1, 2, 0).clamp(0, 1).cpu().numpy()


def _tile(
    axes: Axes, image: torch.Tensor, heat: torch.Tensor, box: Sequence[int], outline: torch.Tensor | None
) -> None:
    """One picture: grey image, heat laid over it where it is above the mean, outline of the region."""
    import matplotlib

    top, left, bottom, right = box
    grey = _shown(image, box).mean(-1, keepdims=True).repeat(3, -1)
    inner = heat[top:bottom, left:right]
    mean, peak = float(inner.mean()), float(inner.max())
    level = ((inner - mean) / max(peak - mean, 1e-12)).clamp(0, 1).cpu().numpy()
    if peak <= 1.02 * mean:  # a map without preference: nothing to show
        level = np.zeros_like(level)
    colour = matplotlib.colormaps["inferno"](0.25 + 0.75 * level)[..., :3]
    alpha = (0.78 * level**0.8)[..., None]
    axes.imshow(np.clip(0.82 * grey * (1 - alpha) + colour * alpha, 0, 1))
    if outline is not None:
        inside = outline[top:bottom, left:right].cpu().numpy()
        if inside.max() > 0 > inside.min():
            axes.contour(inside, levels=[0.0], colors=[OUTLINE], linewidths=1.1)


def _label(axes: Axes, explanation: Explanation, word: int, branch: str, column: int, *, view: int | None) -> None:
    told = [f"p {float(np.exp(explanation.logprobs[word])):.2f}"]
    if not explanation.visible[word]:
        told.append("names nothing visible")
    else:
        told += [f"share {float(explanation.share[branch][word]):.0%}"] if len(explanation.maps) > 1 else []
        told += [] if view is None else [f"view {view + 1}"]
    said = explanation.words[word].strip(MARKS) or explanation.words[word]
    axes.set_title(textwrap.shorten(said, 22, placeholder="..."), color=INK, fontsize=9.5, pad=13,
                   fontweight="bold")  # fmt: skip
    axes.text(0.5, 1.015, ", ".join(told), color=FAINT, fontsize=6.8, ha="center", va="bottom",
              transform=axes.transAxes)  # fmt: skip
    if column == 0:
        axes.text(-0.05, 0.5, branch, color=FAINT, fontsize=9, rotation=90, ha="right", va="center",
                  transform=axes.transAxes)  # fmt: skip
