"""The survey of a datalist as one HTML page without scripts or network."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from scripts.data.look.survey import ODD, SectionSurvey, Survey

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:1150px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:.6em 0}td,th{border-bottom:1px solid #ddd;padding:.25em .8em;text-align:left}
td.n{text-align:right}img{max-width:100%}li{margin:.15em 0}.w{color:#a33}code{font-size:.92em}"""


def page_of(survey: Survey, title: str, picture: Path) -> str:
    """The page; the picture stands inside it, so that one file can be sent."""
    image = base64.b64encode(picture.read_bytes()).decode()
    parts = [
        f"<h1>{escape(title)}</h1>",
        *_provenance(survey),
        "<h2>Sections</h2>",
        _sections(survey),
        f'<img alt="charts and contact sheet" src="data:image/png;base64,{image}">',
        "<h2>Odd captions</h2>",
        _odd(survey),
        "<h2>Images that cannot be read</h2>",
        _listed(survey.unreadable, f"none of the {survey.opened} that were opened"),
        "<h2>Equal files</h2>",
        _listed(
            [", ".join(Path(path).name for path in paths) for paths in survey.duplicates],
            f"none among the {survey.opened} that were opened",
        ),
    ]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(parts)}</body></html>\n"


def _provenance(survey: Survey) -> list[str]:
    told = survey.provenance
    if not told:
        return ["<p>The datalist does not say where it comes from.</p>"]
    rows = [(key, told[key]) for key in ("title", "variant", "licence", "access", "split") if told.get(key)]
    notes = "".join(f"<li class=w>{escape(str(note))}</li>" for note in told.get("notes", []))
    return [_table(rows), f"<ul>{notes}</ul>" if notes else ""]


def _sections(survey: Survey) -> str:
    header = ("section", "entries", "images", "groups", "words: median", "5 % to 95 %", "modalities")
    return _table([_row(name, part) for name, part in survey.sections.items()], header)


def _row(name: str, part: SectionSurvey) -> tuple[str, ...]:
    low, middle, high = np.percentile(part.lengths, (5, 50, 95)) if part.lengths else (0, 0, 0)
    common = ", ".join(f"{kind} {count:,}" for kind, count in part.modalities.most_common(6))
    counts = (f"{part.entries:,}", f"{part.images:,}", f"{part.groups:,}")
    return (name, *counts, f"{middle:.0f}", f"{low:.0f} to {high:.0f}", common)


def _odd(survey: Survey) -> str:
    rows = [
        (name, f"{count:,}", ODD[kind], " | ".join(part.examples.get(kind, [])))
        for name, part in survey.sections.items()
        for kind, count in part.odd.most_common()
        if count
    ]
    return _table(rows, ("section", "captions", "what", "examples")) if rows else "<p>none</p>"


def _listed(texts: Sequence[str], none: str) -> str:
    if not texts:
        return f"<p>{escape(none)}</p>"
    more = f"<li>and {len(texts) - 50} more</li>" if len(texts) > 50 else ""
    return "<ul>" + "".join(f"<li class=w><code>{escape(text)}</code></li>" for text in texts[:50]) + more + "</ul>"


def _table(rows: Sequence[Sequence[object]], header: Sequence[str] = ()) -> str:
    head = "<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in header) + "</tr>" if header else ""
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{head}{body}</table>"
