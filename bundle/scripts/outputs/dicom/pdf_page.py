"""One printed page about one caption: the picture, the words, how sure the model was, and whose it is.

Drawn with Matplotlib, whose DejaVu fonts go into the file, so it looks alike everywhere; equal input gives equal bytes.
Lengths are millimetres on A4, from the top left.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import matplotlib
import numpy as np
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import FancyBboxPatch, Rectangle

from scripts.confidence.doubts import Doubts

WIDTH, HEIGHT, MARGIN = 210.0, 297.0, 18.0
INK, SOFT, RULE, PAPER = "#22262b", "#6a7078", "#dcd9d0", "#fbfaf7"
TEAL, AMBER, RED, DARK = "#0f6b66", "#d99a3d", "#b3402e", "#0b0d0f"
_MM = 72 / 25.4
_PICTURE = 104.0
_CAPTION_SIZES = ((15.0, 5), (12.5, 7), (10.5, 10), (8.5, 15))
"""Font size in points, and the most lines that fit the caption's place at that size; the last is cut there."""
_LOCK = threading.Lock()


@dataclass(frozen=True)
class PageContent:
    """Everything that is printed.

    Attributes:
        caption: the text.
        doubts: how far it may be believed, None where there is nothing to tell.
        disclaimer: what the text is and what it is not.
        pictures: ``[H, W, 3]`` in [0, 1], at most four are drawn.
        patient, origin: (label, value) rows, who it is about and how it was made.
    """

    caption: str
    doubts: Doubts | None
    disclaimer: str
    pictures: Sequence[np.ndarray]
    patient: Sequence[tuple[str, str]]
    origin: Sequence[tuple[str, str]]


def draw_page(content: PageContent) -> bytes:
    """The page as a PDF file. Matplotlib's settings are global: one page at a time is drawn."""
    with _LOCK, matplotlib.rc_context({"pdf.fonttype": 42, "font.family": ["DejaVu Sans"], "pdf.compression": 6}):
        figure = Figure(figsize=(WIDTH / 25.4, HEIGHT / 25.4), facecolor=PAPER)
        FigureCanvasPdf(figure)
        page = _Page(figure)
        _head(page)
        top = _patient(page, content.patient, 40.0)
        _pictures(figure, content.pictures, top + 4)
        top = _caption(page, content, top + 4 + _PICTURE + 10)
        _origin(page, content.origin, top + 6)
        _foot(page, content.disclaimer)
        file = io.BytesIO()
        about = {"Title": "Draft image caption", "Creator": "MSMedCap bundle", "CreationDate": None}
        figure.savefig(file, format="pdf", facecolor=PAPER, metadata=about)
    return file.getvalue()


def is_drawable(text: str) -> bool:
    """Whether the fonts have every character of ``text`` (Latin, Greek, Cyrillic and more; not Chinese or Japanese)."""
    font = get_font(findfont(FontProperties(family="DejaVu Sans")))
    return all(font.get_char_index(ord(character)) for character in text if not character.isspace())


def wrapped(text: str, width: float, size: float, *, weight: str = "normal", most: int = 100) -> list[str]:
    """``text`` in lines of at most ``width`` mm at ``size`` points, words longer than a line cut; stops at ``most``."""
    lines, line, taken = [], "", 0.0
    space = _advance(" ", weight) * size
    for word in text.split():
        length = _length(word, size, weight)
        while length > width:
            cut = max(1, int(len(word) * width / length) - 1)
            lines += [*([line] if line else []), word[:cut]]
            line, taken, word = "", 0.0, word[cut:]
            length = _length(word, size, weight)
        if line and taken + space + length > width:
            lines.append(line)
            line, taken = word, length
        else:
            line, taken = f"{line} {word}".strip(), taken + (space if line else 0.0) + length
        if len(lines) >= most:
            return lines[:most]
    return [*lines, line] if line else lines


def _length(text: str, size: float, weight: str) -> float:
    """Millimetres that a line takes, without kerning."""
    return sum(_advance(character, weight) for character in text) * size


@cache
def _advance(character: str, weight: str) -> float:
    """Millimetres from a character to the next one, at one point."""
    font = get_font(findfont(FontProperties(family="DejaVu Sans", weight=weight)))
    font.set_size(1000, 72)
    return font.load_char(ord(character)).linearHoriAdvance / 65536 / 1000 / _MM


class _Page:
    """Text and boxes placed in millimetres from the top left."""

    def __init__(self, figure: Figure) -> None:
        self.axes = figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0))
        self.axes.axis("off")

    def text(self, x: float, y: float, text: str, size: float, color: str = INK, **options: object) -> None:
        self.axes.text(x, y, text, fontsize=size, color=color, parse_math=False, va="baseline", **options)

    def box(self, x: float, y: float, width: float, height: float, color: str) -> None:
        self.axes.add_patch(Rectangle((x, y), width, height, color=color, linewidth=0))

    def rounded(self, x: float, y: float, width: float, height: float, face: str, edge: str) -> None:
        shape = FancyBboxPatch((x + 2, y + 2), width - 4, height - 4, boxstyle="round,pad=2,rounding_size=2",
                               facecolor=face, edgecolor=edge, linewidth=0.8)  # fmt: skip
        self.axes.add_patch(shape)

    def rule(self, y: float) -> None:
        self.box(MARGIN, y, WIDTH - 2 * MARGIN, 0.2, RULE)


def _head(page: _Page) -> None:
    page.box(0, 0, WIDTH, 28, TEAL)
    page.text(MARGIN, 14.5, "Draft image caption", 19, "white", weight="bold")
    page.text(MARGIN, 21.5, "written by a machine, waiting for a person", 9.5, "#cfe5e2")
    page.rounded(WIDTH - MARGIN - 54, 8.5, 54, 11, "white", "white")
    page.text(WIDTH - MARGIN - 27, 15.6, "NOT FOR CLINICAL USE", 9, RED, weight="bold", ha="center")


def _patient(page: _Page, rows: Sequence[tuple[str, str]], top: float) -> float:
    """Two columns of labelled values; returns where the block ends."""
    column = (WIDTH - 2 * MARGIN) / 2
    for index, (label, value) in enumerate(rows):
        x, y = MARGIN + column * (index % 2), top + 6.2 * (index // 2)
        page.text(x, y, label, 8, SOFT)
        page.text(x + 27, y, _one_line(value, column - 29, 9), 9)
    end = top + 6.2 * ((len(rows) + 1) // 2)
    page.rule(end - 2.5)
    return end


def _pictures(figure: Figure, pictures: Sequence[np.ndarray], top: float) -> None:
    """Up to four pictures side by side on a dark field."""
    shown = list(pictures)[:4]
    width = WIDTH - 2 * MARGIN
    field = figure.add_axes((MARGIN / WIDTH, 1 - (top + _PICTURE) / HEIGHT, width / WIDTH, _PICTURE / HEIGHT))
    field.set(xlim=(0, width), ylim=(_PICTURE, 0), xticks=[], yticks=[], facecolor=DARK)
    for spine in field.spines.values():
        spine.set_visible(False)
    if not shown:
        field.text(width / 2, _PICTURE / 2, "no picture", color="#8b929a", fontsize=10, ha="center")
        return
    cell = width / len(shown)
    for index, picture in enumerate(shown):
        scale = min((cell - 4) / picture.shape[1], (_PICTURE - 4) / picture.shape[0])
        half_width, half_height = picture.shape[1] * scale / 2, picture.shape[0] * scale / 2
        x, y = cell * (index + 0.5), _PICTURE / 2
        field.imshow(picture, extent=(x - half_width, x + half_width, y + half_height, y - half_height),
                     interpolation="none", aspect="auto", vmin=0, vmax=1)  # fmt: skip
    field.set(xlim=(0, width), ylim=(_PICTURE, 0))


def _caption(page: _Page, content: PageContent, top: float) -> float:
    width = WIDTH - 2 * MARGIN
    size, most = _CAPTION_SIZES[-1]
    for size, most in _CAPTION_SIZES:  # noqa: B007  (the first size at which the text fits)
        lines = wrapped(content.caption, width - 6, size, most=most + 1)
        if len(lines) <= most:
            break
    if len(lines) > most:
        lines = [*lines[: most - 1], "… the whole text is in the structured report."]
    step = size * 1.4 / _MM
    page.box(MARGIN, top - 5, 1.2, step * len(lines) + 2, TEAL)
    for index, line in enumerate(lines):
        page.text(MARGIN + 6, top + index * step, line, size)
    end = top + step * len(lines) + 3
    return end if content.doubts is None else _doubts(page, content.doubts, end)


def _doubts(page: _Page, doubts: Doubts, top: float) -> float:
    """A bar for each doubt that is known."""
    rows = (("Plane, kind, organ", doubts.kind, doubts.kind_text), ("Finding", doubts.finding, doubts.finding_text))
    for index, (name, chance, text) in enumerate(rows):
        y = top + 5 * index
        page.text(MARGIN + 6, y, f"{name}: {text}", 9, weight="bold")
        if chance is not None:
            page.box(MARGIN + 66, y - 2.6, 50, 2.6, RULE)
            page.box(MARGIN + 66, y - 2.6, 50 * min(1.0, chance), 2.6, AMBER)
    page.text(MARGIN + 6, top + 10, "How likely each part of the sentence is right (calibrated).", 7.5, SOFT)
    return top + 13


def _origin(page: _Page, rows: Sequence[tuple[str, str]], top: float) -> None:
    page.rule(top)
    for index, (label, value) in enumerate(rows):
        y = top + 6 + 5 * index
        page.text(MARGIN, y, label, 7.5, SOFT)
        page.text(MARGIN + 27, y, _one_line(value, WIDTH - 2 * MARGIN - 27, 7.5), 7.5)


def _foot(page: _Page, disclaimer: str) -> None:
    page.rounded(MARGIN, HEIGHT - 30, WIDTH - 2 * MARGIN, 15, "#fbf1df", AMBER)
    for index, line in enumerate(wrapped(disclaimer, WIDTH - 2 * MARGIN - 8, 8.4, weight="bold")[:2]):
        page.text(WIDTH / 2, HEIGHT - 21.5 + 4.4 * index, line, 8.4, "#6b4a12", weight="bold", ha="center")


def _one_line(text: str, width: float, size: float) -> str:
    lines = wrapped(text, width, size, most=2)
    return lines[0] + " …" if len(lines) > 1 else (lines[0] if lines else "–")
