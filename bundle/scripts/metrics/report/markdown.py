"""The report in Markdown: every number of the page, no charts, no pictures, no captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scripts.metrics.report.cases import Case
from scripts.metrics.report.content import Section, Table, cards, opening
from scripts.metrics.report.page import how_made
from scripts.metrics.tables import markdown_table


def as_markdown(
    title: str, evaluation: Mapping[str, Any], cases: Sequence[Case], parts: Sequence[Section], page: str | None = None
) -> str:
    """The whole report; `page` names the HTML file with the charts."""
    headline = markdown_table(
        ["headline", "value", "against the baseline"], [[c.name, c.value, c.note] for c in cards(evaluation)]
    )
    lines = [f"# {title}", opening(evaluation, cases)]
    if page:
        lines.append(f"Charts: [{page}]({page}).")
    lines.append(headline)
    for section in parts:
        tables = [
            markdown_table(part.header, part.rows, part.words) for part in section.parts if isinstance(part, Table)
        ]
        if tables:
            lines += [f"## {section.title}", section.lead, *tables]
    return "\n\n".join([*lines, "## How this was made", how_made(evaluation)]) + "\n"
