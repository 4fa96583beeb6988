"""Text burned into pixels: finding and blanking it.

Two ways, both used: ultrasound files say where the picture is (Sequence of Ultrasound Regions), so all outside is
blanked; anywhere else, lines of bright, thin, equally tall marks are looked for. No text is recognised or recorded. The
second way is a heuristic: it is an option, it can miss handwriting, text over bright anatomy and single letters, and it
does not replace a de-identification tool.
"""

from __future__ import annotations

import numpy as np

from scripts.reading.case import CaseImage

Box = tuple[int, int, int, int]
"""First row, first column, one past the last row, one past the last column."""
_CONTRAST = 0.3
"""Share of the grey scale by which text stands out from what is around it."""
_LETTERS = 3
"""Marks in a row that make a line of text."""


def mask_text(case: CaseImage) -> CaseImage:
    """Blank text in place, with each view's smallest value; ``meta["masked"]`` lists the boxes of each view."""
    regions = case.meta.get("us_regions") or []
    record = []
    for view in case.pixels:
        boxes = [] if regions else find_text(view.mean(axis=0))
        blank = np.zeros(view.shape[-2:], dtype=bool)
        if regions:
            blank[:] = True
            for top, left, bottom, right in regions:
                blank[top:bottom, left:right] = False
            inside = np.where(blank, view.min(), view.mean(axis=0))
            boxes = find_text(inside)
        for top, left, bottom, right in boxes:
            blank[top:bottom, left:right] = True
        view[:, blank] = view.min()
        record.append([list(box) for box in boxes])
    case.meta["masked"] = {"text_boxes": record, "outside_ultrasound_regions": bool(regions)}
    return case


def find_text(grey: np.ndarray) -> list[Box]:
    """Boxes around lines of bright text in an image ``[H, W]`` of any range."""
    height, width = grey.shape
    low, high = float(grey.min()), float(np.percentile(grey, 99.95))
    if high <= low:
        return []
    scaled = np.clip((grey - low) / (high - low), 0.0, 1.0).astype(np.float32)
    tallest = max(10, height // 16)
    stroke = max(5, tallest // 3)
    from scipy import ndimage  # a quarter of a second, and few ask for it

    thin = scaled - ndimage.grey_opening(scaled, size=(stroke, stroke))
    marks, count = ndimage.label((thin > _CONTRAST) & (scaled > 0.5), structure=np.ones((3, 3)))
    found = ndimage.find_objects(marks, max_label=count)
    boxes = [(rows.start, columns.start, rows.stop, columns.stop) for rows, columns in found]
    letters = [b for b in boxes if 4 <= b[2] - b[0] <= tallest and b[3] - b[1] <= 2 * (b[2] - b[0])]
    small = [b for b in boxes if b[2] - b[0] <= tallest and b[3] - b[1] <= 2 * tallest]
    return [_widen(_grow(line, small), height, width) for line in _lines(letters)]


def _lines(letters: list[Box]) -> list[Box]:
    """Letters of about one height, side by side, joined; lines of fewer than `_LETTERS` are dropped."""
    lines: list[list[Box]] = []
    for letter in sorted(letters, key=lambda box: box[1]):
        home = next((line for line in lines if _continues(line[-1], letter)), None)
        if home is None:
            lines.append([letter])
        else:
            home.append(letter)
    return [_around(line) for line in lines if len(line) >= _LETTERS]


def _continues(last: Box, letter: Box) -> bool:
    """Whether ``letter`` stands to the right of ``last`` in one line: bases level, heights alike, two letters apart."""
    tall = max(last[2] - last[0], letter[2] - letter[0])
    alike = min(last[2] - last[0], letter[2] - letter[0]) >= 0.5 * tall
    level = abs(last[2] - letter[2]) <= 0.35 * tall
    return alike and level and letter[1] - last[3] <= 2 * tall


def _around(line: list[Box]) -> Box:
    tops, lefts, bottoms, rights = zip(*line, strict=True)
    return min(tops), min(lefts), max(bottoms), max(rights)


def _grow(line: Box, marks: list[Box]) -> Box:
    """A line with the marks beside it that were no letters by themselves: hyphens, dots, parts of broken letters."""
    tall = line[2] - line[0]
    for mark in sorted(marks, key=lambda box: box[1]) + sorted(marks, key=lambda box: -box[1]):
        level = mark[0] >= line[0] - tall // 3 and mark[2] <= line[2] + tall // 3
        if level and mark[1] - line[3] <= 2 * tall and line[1] - mark[3] <= 2 * tall:
            line = _around([line, mark])
    return line


def _widen(box: Box, height: int, width: int) -> Box:
    """A margin of a third of the letters' height, for marks that were too small to count."""
    margin = max(2, (box[2] - box[0]) // 3)
    return max(0, box[0] - margin), max(0, box[1] - margin), min(height, box[2] + margin), min(width, box[3] + margin)
