"""The report as one HTML page that needs nothing else: style, charts and pictures are inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from scripts.metrics.report import charts
from scripts.metrics.report.cases import READ, Case
from scripts.metrics.report.content import Card, Chart, Section, Table, cards, opening
from scripts.metrics.tables import interval_unit

_STYLE = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
_NOTICE = "For research. These captions are not diagnoses."


def _cell(tag: str, text: str, kinds: Sequence[str]) -> str:
    value, bracket, interval = text.partition(" [")
    shown = escape(value) + (f" <small>[{escape(interval)}</small>" if bracket else "")
    style = f' class="{" ".join(kinds)}"' if kinds else ""
    return f"<{tag}{style}>{shown}</{tag}>"


def _table(table: Table) -> str:
    kinds = [["words"] * (i < table.words) + ["strong"] * (i == table.strong) for i in range(len(table.header))]
    head = "".join(_cell("th", name, kind[:1]) for name, kind in zip(table.header, kinds, strict=True))
    rows = ["".join(_cell("td", str(text), kind) for text, kind in zip(row, kinds, strict=True)) for row in table.rows]
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _part(part: Table | Chart) -> str:
    if isinstance(part, Table):
        return _table(part)
    keys = charts.legend(part.series) if len(part.series) > 1 else ""
    kind = ' class="lines"' if part.lines else ""
    return f'<figure{kind}>{keys}<div class="scroll">{part.svg}</div></figure>'


def _anchor(title: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in title.lower()).strip("-")


def _section(section: Section) -> str:
    body = "".join(_part(part) for part in section.parts)
    title = escape(section.title)
    return f'<section id="{_anchor(section.title)}"><h2>{title}</h2><p>{escape(section.lead)}</p>{body}</section>'


def _card(card: Card) -> str:
    return (
        f'<div class="card {card.kind}"><b>{escape(card.value)}</b><span>{escape(card.name)}</span>'
        f"<small>{escape(card.note)}</small></div>"
    )


def _fields(case: Case) -> str:
    """Plane, modality and organ as marks: right ones plain, wrong ones with the truth behind them."""
    marks = []
    for name in READ:
        truth, said = getattr(case.truth, name) or "none", getattr(case.said, name) or "none"
        if truth == said:
            marks.append(f'<span class="mark right">{escape(said)}</span>')
        else:
            marks.append(f'<span class="mark wrong">{escape(said)} <em>not {escape(truth)}</em></span>')
    return "".join(marks)


def _entry(case: Case, picture: str | None) -> str:
    shown = f'<img loading="lazy" alt="" src="{picture}">' if picture else '<div class="nopicture">no picture</div>'
    others = "".join(f"<dt>{escape(n)}</dt><dd>{escape(text)}</dd>" for n, text in case.baselines.items())
    prediction = escape(case.prediction) or "<i>no caption</i>"
    return (
        f'<article>{shown}<div><p class="said">{prediction}</p><p>{_fields(case)}</p>'
        f"<dl><dt>reference</dt><dd>{escape(case.reference)}</dd>{others}</dl>"
        f'<p class="file">{escape(Path(case.image).name)} · {escape(case.modality)} · quality {case.quality:.2f}</p>'
        "</div></article>"
    )


def gallery_html(groups: Mapping[str, Sequence[Case]], picture: Callable[[str], str | None]) -> str:
    """The gallery: a heading and entries for each group; `picture` gives the data URI of an image."""
    known: dict[str, str | None] = {}
    parts = []
    for name, members in groups.items():
        for case in members:
            if case.image not in known:
                known[case.image] = picture(case.image)
        entries = "".join(_entry(case, known[case.image]) for case in members)
        parts.append(f'<details open><summary>{escape(name)}</summary><div class="gallery">{entries}</div></details>')
    return f'<section id="gallery"><h2>Gallery</h2><p>{escape(_NOTICE)}</p>{"".join(parts)}</section>'


def how_made(evaluation: Mapping[str, Any]) -> str:
    """One paragraph: files, protocol, draws, versions."""
    used = ", ".join(f"{name} {value}" for name, value in evaluation["versions"].items())
    split = f" ({evaluation['split']})" if evaluation.get("split") else ""
    over, draws = interval_unit(evaluation["bootstrap"]), evaluation["bootstrap"]
    return (
        f"{evaluation['predictions']} against {evaluation['references']}{split}, {evaluation['images']} images, "
        f"{evaluation['date']}. Protocol {evaluation['protocol']}: {evaluation['tokenizer']}. Intervals: percentile "
        f"bootstrap over {over}, {draws['resamples']} draws, seed {draws['seed']}. "
        f"Made with {used}. {_NOTICE}"
    )


def as_html(
    title: str, evaluation: Mapping[str, Any], cases: Sequence[Case], parts: Sequence[Section], gallery: str = ""
) -> str:
    """The whole page."""
    links = [(s.title, _anchor(s.title)) for s in parts] + ([("Gallery", "gallery")] if gallery else [])
    menu = "".join(f'<a href="#{anchor}">{escape(name)}</a>' for name, anchor in links)
    top = "".join(_card(card) for card in cards(evaluation))
    body = "".join(_section(section) for section in parts) + gallery
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><header><h1>{escape(title)}</h1>"
        f'<p class="lead">{escape(opening(evaluation, cases))}</p><div class="cards">{top}</div></header>'
        f"<nav>{menu}</nav><main>{body}</main><footer>{escape(how_made(evaluation))}</footer></body></html>\n"
    )
