"""Charts as inline SVG: bars with intervals, histograms, lines, a heat map. No script, no library, no network.

Colours are CSS classes of the page, so charts follow its light and dark looks. Every chart has a title for screen
readers and gives its numbers as text or tooltips.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import isfinite

WIDTH = 720
_LEFT, _RIGHT = 150, 24


def _svg(height: float, title: str, parts: Sequence[str], width: float = WIDTH) -> str:
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(title)}" '
        f'xmlns="http://www.w3.org/2000/svg"><title>{escape(title)}</title>{"".join(parts)}</svg>'
    )


def _text(x: float, y: float, text: str, kind: str = "label", anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _bar(x: float, y: float, width: float, height: float, kind: str, tip: str) -> str:
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{max(height, 0):.1f}" '
        f'rx="2"><title>{escape(tip)}</title></rect>'
    )


def legend(names: Sequence[str]) -> str:
    """HTML legend for series 1, 2, 3, ... of a chart."""
    keys = "".join(f'<span><i class="key s{i}"></i>{escape(name)}</span>' for i, name in enumerate(names, start=1))
    return f'<p class="legend">{keys}</p>'


def score_bars(title: str, scores: Mapping[str, Sequence[Mapping[str, float | None]]], names: Sequence[str]) -> str:
    """Grouped horizontal bars from 0 to 1 with intervals: for each score a bar for each of the systems in `names`."""
    thick, gap = 15, 18
    span = WIDTH - _LEFT - _RIGHT - 44
    parts, y = [], 8.0
    for score, rows in scores.items():
        parts.append(_text(_LEFT - 10, y + thick * len(rows) / 2 + 4, score, anchor="end"))
        for i, row in enumerate(rows, start=1):
            value, low, high = (row.get(key) for key in ("value", "low", "high"))
            if value is None or not isfinite(value):
                continue
            bounded = low is not None and high is not None and isfinite(low) and isfinite(high)
            tip = f"{names[i - 1]}: {score} {value:.3f}" + (f" [{low:.3f}, {high:.3f}]" if bounded else "")
            parts.append(_bar(_LEFT, y + 1, span * value, thick - 3, f"bar s{i}", tip))
            middle, end = y + thick / 2 - 0.5, _LEFT + span * value
            if bounded:
                end = _LEFT + span * high
                parts.append(_line(_LEFT + span * low, middle, end, middle, "whisker"))
            parts.append(_text(end + 6, middle + 4, f"{value:.2f}", "value"))
            y += thick
        y += gap
    grid = [_line(_LEFT + span * t, 0, _LEFT + span * t, y - gap + 8, "grid") for t in (0, 0.25, 0.5, 0.75, 1)]
    ticks = [_text(_LEFT + span * t, y + 4, f"{t:g}", "tick", "middle") for t in (0, 0.25, 0.5, 0.75, 1)]
    return _svg(y + 12, title, grid + parts + ticks)


def differences(title: str, rows: Sequence[Mapping[str, float | str]]) -> str:
    """Differences with intervals around a zero line, each scaled by the widest; green is better, red is worse."""
    reach = max([abs(float(row[key])) for row in rows for key in ("low", "high", "difference")] + [1e-9])
    middle, half, step = _LEFT + 210, 200, 26
    parts = [_line(middle, 0, middle, len(rows) * step + 6, "axis")]
    for i, row in enumerate(rows):
        y = i * step + 18
        low, high, value = (float(row[key]) / reach * half for key in ("low", "high", "difference"))
        kind = "better" if float(row["low"]) > 0 else "worse" if float(row["high"]) < 0 else "even"
        tip = f"{row['name']}: {float(row['difference']):+.3f} [{float(row['low']):+.3f}, {float(row['high']):+.3f}]"
        parts.append(_text(_LEFT - 10, y + 4, str(row["name"]), anchor="end"))
        parts.append(_line(middle + low, y, middle + high, y, f"spread {kind}"))
        dot = (
            f'<circle class="dot {kind}" cx="{middle + value:.1f}" cy="{y}" r="5"><title>{escape(tip)}</title></circle>'
        )
        parts.append(dot)
        note = f"{float(row['difference']):+.3f}   p {float(row['p_value']):.3f}"
        parts.append(_text(WIDTH - 4, y + 4, note, "value", "end"))
    return _svg(len(rows) * step + 14, title, parts)


def histogram(title: str, series: Mapping[str, Sequence[tuple[float, int]]], unit: str, width: float) -> str:
    """Counts of several series side by side over the same bins, given as `(start of bin, count)`; `width` of a bin."""
    starts = sorted({start for bins in series.values() for start, _ in bins})
    highest = max([count for bins in series.values() for _, count in bins] + [1])
    height, left, bottom = 200, 44, 34
    step = (WIDTH - left - 10) / max(len(starts), 1)
    parts = []
    for level in (0, highest / 2, highest):
        y = 10 + (height - 10) * (1 - level / highest)
        parts += [_line(left, y, WIDTH - 10, y, "grid"), _text(left - 6, y + 4, f"{level:.0f}", "tick", "end")]
    for i, (name, bins) in enumerate(series.items(), start=1):
        share = (step - 4) / len(series)
        for start, count in bins:
            x = left + starts.index(start) * step + 2 + (i - 1) * share
            size = (height - 10) * count / highest
            label = f"{start:g}" if width == 1 else f"{start:g} to {start + width - 1:g}"
            parts.append(_bar(x, height - size, share, size, f"bar s{i}", f"{name}: {count} with {label} {unit}"))
    every = max(1, len(starts) // 16)
    for i, start in enumerate(starts[::every]):
        parts.append(_text(left + (i * every + 0.5) * step, height + 15, f"{start:g}", "tick", "middle"))
    parts.append(_text(left + (WIDTH - left) / 2, height + bottom - 2, unit, "tick", "middle"))
    return _svg(height + bottom, title, parts)


def curves(title: str, series: Mapping[str, Sequence[tuple[float, float]]], unit: str) -> str:
    """Lines over a common axis, each a list of `(x, y)`; points that are not finite are left out."""
    points = {name: [(x, y) for x, y in line if isfinite(x) and isfinite(y)] for name, line in series.items()}
    flat = [point for line in points.values() for point in line]
    if not flat:
        return ""
    (x_low, x_high), (y_low, y_high) = ((min(axis), max(axis)) for axis in zip(*flat, strict=True))
    height, left = 220, 56

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / ((x_high - x_low) or 1)
        up = (y - y_low) / ((y_high - y_low) or 1)
        return left + across * (WIDTH - left - 20), 10 + (1 - up) * (height - 20)

    parts = []
    for share in (0, 0.5, 1):
        level = y_low + share * (y_high - y_low)
        y = place(x_low, level)[1]
        parts += [_line(left, y, WIDTH - 20, y, "grid"), _text(left - 6, y + 4, f"{level:.3g}", "tick", "end")]
        x = x_low + share * (x_high - x_low)
        if x == int(x):
            parts.append(_text(place(x, y_low)[0], height + 14, f"{x:g}", "tick", "middle"))
    for i, (name, line) in enumerate(points.items(), start=1):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in line))
        parts.append(f'<polyline class="curve s{i}" points="{path}"><title>{escape(name)}</title></polyline>')
        if len(line) <= 60:
            dots = (place(*point) for point in line)
            parts += [f'<circle class="mark s{i}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>' for x, y in dots]
    parts.append(_text(left + (WIDTH - left) / 2, height + 30, unit, "tick", "middle"))
    return _svg(height + 36, title, parts)


def heat_map(title: str, labels: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """A confusion matrix, truth down and prediction across; darker is a larger share of the row."""
    size, left, top = 42, 215, 150
    parts = []
    for i, label in enumerate(labels):
        parts.append(_text(left - 8, top + (i + 0.5) * size + 4, label, anchor="end"))
        x, y = left + (i + 0.5) * size, top - 8
        parts.append(f'<text class="label" transform="translate({x:.1f},{y}) rotate(-40)">{escape(label)}</text>')
    for i, row in enumerate(counts):
        total = sum(row)
        for j, count in enumerate(row):
            share = count / total if total else 0.0
            x, y = left + j * size, top + i * size
            tip = f"{labels[i]} said as {labels[j]}: {count} of {total}"
            kind = "hit" if i == j else "miss"
            parts.append(
                f'<rect class="cell {kind}" style="--share:{share:.3f}" x="{x + 1}" y="{y + 1}" width="{size - 2}" '
                f'height="{size - 2}" rx="3"><title>{escape(tip)}</title></rect>'
            )
            if count:
                tone = "onfull" if share > 0.55 else "value"
                parts.append(_text(x + size / 2, y + size / 2 + 4, str(count), tone, "middle"))
    width = left + len(labels) * size + 140
    return _svg(top + len(labels) * size + 8, title, parts, max(width, 420))
