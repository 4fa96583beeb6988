"""Content of the report, before it is HTML or Markdown: sections of titles, sentences, tables and charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scripts.metrics.diversity import length_histogram
from scripts.metrics.report import charts
from scripts.metrics.report.cases import READ, Case, all_right, confusion_matrix, confusions, failure_groups
from scripts.metrics.scores import VARIETY
from scripts.metrics.tables import cell, interval_unit, label, number

FIELD_SCORES = ("plane", "modality", "modality family", "organ", "abnormality words")
HEADLINE = ("plane", "modality", "organ", "CIDEr-D", "BLEU-4", "distinct captions")
BIN = 2
SYSTEM = "predictions"


@dataclass(frozen=True)
class Table:
    """A table: the first `words` columns are text, the others are numbers; `strong` is the column to look at."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    strong: int | None = None
    words: int = 1


@dataclass(frozen=True)
class Chart:
    """An SVG with the names of its series (for a legend); lines have colours of their own."""

    svg: str
    series: Sequence[str] = ()
    lines: bool = False


@dataclass(frozen=True)
class Section:
    """A part of the report."""

    title: str
    lead: str
    parts: Sequence[Table | Chart] = field(default_factory=tuple)


@dataclass(frozen=True)
class Card:
    """A headline number with how it stands against a baseline."""

    name: str
    value: str
    note: str
    kind: str  # better, worse, even


def _by_name(evaluation: Mapping[str, Any], system: str) -> dict[str, Mapping[str, Any]]:
    return {row["name"]: row for row in evaluation["systems"].get(system, [])}


def strongest_baseline(evaluation: Mapping[str, Any]) -> str | None:
    """The last system beside the predictions (1-nearest neighbour where it ran)."""
    others = [name for name in evaluation["systems"] if name != SYSTEM]
    return others[-1] if others else None


def cards(evaluation: Mapping[str, Any]) -> list[Card]:
    """Headline numbers, each with its difference from the strongest baseline and the test's p."""
    own, rival = _by_name(evaluation, SYSTEM), strongest_baseline(evaluation)
    short = (rival or "").replace("1-nearest neighbour", "1-NN")
    against = {row["name"]: row for row in evaluation["comparisons"] if row["against"] == rival}
    made = []
    for name in HEADLINE:
        if name not in own:
            continue
        row = against.get(name)
        if row is None:
            made.append(Card(name, number(own[name]["value"], 2), str(own[name].get("note") or ""), "even"))
            continue
        kind = "better" if row["low"] > 0 else "worse" if row["high"] < 0 else "even"
        made.append(Card(name, number(own[name]["value"], 2), f"{row['difference']:+.2f} on {short}", kind))
    return made


def opening(evaluation: Mapping[str, Any], cases: Sequence[Case]) -> str:
    """Two sentences that say what the numbers mean."""
    right, total = all_right(cases), len(cases)
    rival = strongest_baseline(evaluation)
    text = f"Plane, modality and body part are all right in {right} of {total} captions ({right / total:.0%})."
    rows = _compared(evaluation, rival)
    beaten, lost = [r["name"] for r in rows if r["low"] > 0], [r["name"] for r in rows if r["high"] < 0]
    if rival and (beaten or lost):
        text += f" Against {rival} it is clearly better in {_listed(beaten)}, and clearly worse in {_listed(lost)}."
    elif rival:
        text += f" Against {rival} no score differs beyond its interval."
    return text


def _compared(evaluation: Mapping[str, Any], rival: str | None) -> list[Mapping[str, Any]]:
    """Differences from `rival` in scores where more is better, that have an interval."""
    rows = [row for row in evaluation["comparisons"] if row["against"] == rival and row["group"] != VARIETY]
    numbered = [row for row in rows if all(row[key] == row[key] for key in ("low", "high", "difference"))]
    return [row for row in numbered if row["low"] != row["high"]]


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "nothing"
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def scores_section(evaluation: Mapping[str, Any]) -> Section:
    """All scores of all systems."""
    systems = list(evaluation["systems"])
    found = {system: _by_name(evaluation, system) for system in systems}
    own, count = evaluation["systems"][SYSTEM], evaluation["images"]
    rows = [[label(r, count), *(cell(found[s].get(r["name"])) for s in systems)] for r in own]
    skipped = "".join(f" {name} was skipped: {reason}." for name, reason in evaluation["skipped"].items())
    lead = (
        f"Protocol {evaluation['protocol']} ({evaluation['tokenizer']}). In brackets the 95 % bootstrap interval over "
        f"{interval_unit(evaluation['bootstrap'])}; {evaluation['bootstrap']['resamples']} draws.{skipped}"
    )
    return Section("All scores", lead, [Table(["score", *systems], rows, strong=1)])


def fields_section(evaluation: Mapping[str, Any]) -> Section:
    """Field accuracy of all systems as bars."""
    systems = list(evaluation["systems"])
    found = [_by_name(evaluation, system) for system in systems]
    names = [name for name in FIELD_SCORES if name in found[0]]
    scores = {name: [rows.get(name, {"value": None}) for rows in found] for name in names}
    lead = (
        "Read off the captions: what a reader would act on. The whisker is the 95 % interval. Modality family counts "
        "CT, MR, X-ray and so on, because exact modality labels are noisy."
    )
    return Section("What the captions get right", lead, [Chart(charts.score_bars("Fields", scores, systems), systems)])


def comparison_section(evaluation: Mapping[str, Any]) -> Section | None:
    """Differences from the strongest baseline with paired intervals and p values."""
    rival = strongest_baseline(evaluation)
    rows = _compared(evaluation, rival)
    if not rows:
        return None
    lead = (
        f"Predictions minus {rival} on the same images: paired bootstrap interval, and p of a paired permutation test. "
        "Green lies clear of zero to the right."
    )
    chart = Chart(charts.differences(f"Difference from {rival}", [_in_tenths(row) for row in rows]))
    return Section(f"Against {rival}", lead, [chart])


def _in_tenths(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """CIDEr-D runs from 0 to 10; a tenth of it lies on the scale of the other scores."""
    if row["name"] != "CIDEr-D":
        return row
    return {**row, "name": "CIDEr-D / 10", **{key: row[key] / 10 for key in ("low", "high", "difference")}}


def modality_section(evaluation: Mapping[str, Any]) -> Section | None:
    """Scores by modality of the datalist."""
    rows = evaluation["by_modality"]
    if not rows:
        return None
    names = list(rows[0])
    body = [[str(row[n]) if n in ("kind", "images") else number(row[n], 2) for n in names] for row in rows]
    lead = "Modalities with at least five images. Small groups move by chance: five images move a share by 0.2 each."
    return Section("By modality", lead, [Table(names, body)])


def variety_section(cases: Sequence[Case]) -> Section:
    """Lengths, and how many captions are the same, copied or looped."""
    predicted = length_histogram([c.prediction for c in cases], BIN)
    written = length_histogram([c.reference for c in cases], BIN)
    different = len({c.prediction for c in cases})
    copied = sum(c.verbatim for c in cases)
    lead = (
        f"{different} different captions for {len(cases)} images. The captions of {copied} images "
        f"({copied / len(cases):.0%}) stand word for word in training."
    )
    series = {"predicted": predicted, "reference": written}
    chart = charts.histogram("Length of captions", series, "words a caption", BIN)
    return Section("Variety and length", lead, [Chart(chart, list(series))])


def curves_section(history: Mapping[str, Sequence[Any]] | None) -> Section | None:
    """Training curves: name to a list of numbers or of `[step, value]`; one chart for each name before a slash."""
    if not history:
        return None
    grouped: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for name, values in history.items():
        group, _, rest = name.rpartition("/")
        line = [(float(v[0]), float(v[1])) if isinstance(v, list | tuple) else (float(i), float(v))
                for i, v in enumerate(values, start=1)]  # fmt: skip
        grouped.setdefault(group or name, {})[rest or name] = line
    made = [Chart(charts.curves(group, lines, "epoch"), list(lines), lines=True) for group, lines in grouped.items()]
    return Section("Training", "How the losses and validation scores moved.", [c for c in made if c.svg])


def confusion_section(cases: Sequence[Case]) -> Section:
    """Where body parts are confused, and the commonest mistakes of each field."""
    labels, counts = confusion_matrix(cases, "organ")
    chart = Chart(charts.heat_map("Body part: truth down, prediction across", labels, counts))
    rows = [[name, truth, said, str(count)] for name in READ for truth, said, count in confusions(cases, name, 5)]
    lead = "Truth down, prediction across; a cell is as dark as its share of the row. Below, the commonest mistakes."
    return Section(
        "What is mistaken for what", lead, [chart, Table(["field", "truth", "said", "images"], rows, words=3)]
    )


def failures_section(cases: Sequence[Case]) -> Section:
    """Groups of failures with their size and their commonest modality."""
    rows = []
    for name, members in failure_groups(cases).items():
        kinds = [case.modality for case in members]
        commonest = max(sorted(set(kinds)), key=kinds.count)
        rows.append([name, str(len(members)), f"{len(members) / len(cases):.0%}", commonest])
    lead = (
        "A caption may stand in several groups. The finding is often not visible in one slice, so that group is large."
    )
    return Section("How it fails", lead, [Table(["group", "images", "share", "mostly"], rows)])


def sections(
    evaluation: Mapping[str, Any], cases: Sequence[Case], history: Mapping[str, Sequence[Any]] | None
) -> list[Section]:
    """All sections but the gallery, in reading order."""
    made = [
        fields_section(evaluation),
        comparison_section(evaluation),
        scores_section(evaluation),
        modality_section(evaluation),
        failures_section(cases),
        confusion_section(cases),
        variety_section(cases),
        curves_section(history),
    ]
    return [section for section in made if section is not None]
