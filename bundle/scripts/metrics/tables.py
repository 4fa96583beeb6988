"""An evaluation as a table: for the terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def number(value: float | None, digits: int = 3) -> str:
    """A score as text; a dash where there is none."""
    if value is None or value != value:
        return "-"
    return f"{value:.{digits}f}"


def cell(row: Mapping[str, Any] | None) -> str:
    """Value with its interval, `0.721 [0.670, 0.772]`."""
    if row is None:
        return "-"
    text = number(row["value"])
    low, high = row.get("low"), row.get("high")
    return text if low is None or low != low else f"{text} [{number(low)}, {number(high)}]"


def label(row: Mapping[str, Any], images: int) -> str:
    """A score's name, with the number of images behind it where that is not all of them."""
    counted = row.get("n")
    return row["name"] if counted in (None, images) else f"{row['name']} (n {counted})"


def interval_unit(bootstrap: Mapping[str, Any]) -> str:
    """What intervals were made over, in words."""
    if bootstrap.get("unit") == "group":
        return f"{bootstrap['units']} groups of images"
    return "images, as if independent (the references name no groups)"


def _rows(result: Mapping[str, Any]) -> list[tuple[str, str, list[str]]]:
    """`(group, score name, cells)`, a cell for each system, in the order of the first system."""
    systems = result["systems"]
    by_name = {system: {row["name"]: row for row in rows} for system, rows in systems.items()}
    first = next(iter(systems.values()))
    count = result["images"]
    return [(r["group"], label(r, count), [cell(by_name[s].get(r["name"])) for s in systems]) for r in first]


def _heading(result: Mapping[str, Any]) -> str:
    draws = result["bootstrap"]["resamples"]
    over = interval_unit(result["bootstrap"])
    interval = f"95 % bootstrap intervals over {over}, {draws} draws" if draws else "no intervals"
    unfinished = "".join(f"; {result[key]} {key}" for key in ("failed", "missing") if result.get(key))
    split = f" ({result['split']})" if result.get("split") else ""
    return (
        f"{result['predictions']} against {result['references']}{split}: {result['images']} images{unfinished}; "
        f"protocol {result['protocol']} ({result['tokenizer']}); {interval}"
    )


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in table]


def as_text(result: Mapping[str, Any]) -> str:
    """The table for a terminal."""
    header = ["score", *result["systems"]]
    body, groups = [], []
    for group, name, cells in _rows(result):
        groups.append(group)
        body.append([name, *cells])
    lines = _aligned([header, *body])
    printed = [_heading(result), "", lines[0]]
    for i, line in enumerate(lines[1:]):
        if i == 0 or groups[i] != groups[i - 1]:
            printed.append(f"-- {groups[i]}")
        printed.append(line)
    printed += [f"warning: {text}" for text in result.get("warnings", [])]
    printed += [f"skipped {name}: {reason}" for name, reason in result["skipped"].items()]
    return "\n".join(printed)


def markdown_table(header: Sequence[str], body: Sequence[Sequence[str]], words: int = 1) -> str:
    """A Markdown table; the first `words` columns are text, the others are numbers."""
    rule = ["---"] * words + ["---:"] * (len(header) - words)
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *body])


def as_markdown(result: Mapping[str, Any]) -> str:
    """The same table in Markdown, with the modality table and what was skipped."""
    body = [[name, *cells] for _, name, cells in _rows(result)]
    parts = [_heading(result) + ".", markdown_table(["score", *result["systems"]], body)]
    if result["by_modality"]:
        names = list(result["by_modality"][0])
        rows = [[str(row[n]) if n in names[:2] else number(row[n]) for n in names] for row in result["by_modality"]]
        parts.append(markdown_table(names, rows))
    parts += [f"**Warning**: {text}." for text in result.get("warnings", [])]
    parts += [f"Skipped {name}: {reason}." for name, reason in result["skipped"].items()]
    used = ", ".join(f"{name} {value}" for name, value in result["versions"].items())
    return "\n\n".join([*parts, f"Made with {used}."]) + "\n"
