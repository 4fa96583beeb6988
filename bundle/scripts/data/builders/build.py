"""A data set's folder -> a datalist: rows become entries, entries get their sections, and what was done is written in.

Entries wait in a file beside the output while sections are drawn, so that memory holds numbers only.
"""

from __future__ import annotations

import json
import tempfile
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from scripts.atomic import write_atomically
from scripts.data.builders.entries import CaseOptions, Cases, layout_templates, shown, source_folder
from scripts.data.builders.layout import Layout
from scripts.data.builders.rows import Rows, SetFolder, choose_variant
from scripts.data.builders.splits import CROSSING, SECTIONS, assign_groups, crossing_groups, group_number
from scripts.data.json_lines import is_json_lines
from scripts.errors import InputError

Entry = dict[str, Any]
LEFT_OUT = -2
UNASSIGNED = -1


@dataclass(frozen=True)
class BuildOptions:
    """How a datalist is built.

    Args:
        case: what an entry is made of.
        language: of the captions; empty takes the layout's first.
        variant: of the layout; empty takes the first whose table is there.
        validation, test: shares of the entries where the set has no such section; None takes 0.1 for validation, and
            0.1 for test where the set has no split at all.
        seed: of the draw.
        crossing: what becomes of groups on two sides of an official split: ``refuse``, ``keep``, or ``drop`` (their
            training entries are left out).
        max_missing: the build counts as failed above this share of missing image files.
    """

    case: CaseOptions = field(default_factory=CaseOptions)
    language: str = ""
    variant: str = ""
    validation: float | None = None
    test: float | None = None
    seed: int = 0
    crossing: str = "refuse"
    max_missing: float = 0.05


@dataclass
class BuildReport:
    """What a build did: entries a section, what was left out, missing files, and sentences worth reading."""

    sections: dict[str, int]
    counts: dict[str, int]
    missing: list[str]
    missing_share: float
    split: str
    notes: list[str]
    failed: bool


def build_datalist(
    name: str | Layout,
    source: str | Path,
    output: str | Path,
    options: BuildOptions | None = None,
    leave_out: Callable[[Path, Sequence[Entry]], np.ndarray] | None = None,
) -> BuildReport:
    """Build the datalist of a data set and write it, as JSON or, where the name ends in ``.jsonl``, as JSON Lines.

    Args:
        name: of a layout, or a layout.
        source: folder of the set; image paths become relative to it.
        output: the datalist.
        options: how.
        leave_out: given the folder and the entries, which of them to leave out, bool `[N]`.

    Raises:
        InputError: the folder is not laid out so, no entry is left, or groups stand on two sides of the split.
    """
    options = options or BuildOptions()
    if options.crossing not in CROSSING:
        raise InputError(f"--crossing is one of {', '.join(CROSSING)}, not '{options.crossing}'.")
    folder = SetFolder(source_folder(source))
    layout = name if isinstance(name, Layout) else choose_variant(name, folder, options.variant)
    folder.language = options.language or layout.languages[0]
    if folder.language not in layout.languages:
        raise InputError(f"{layout.title} has captions in {', '.join(layout.languages)}, not '{options.language}'.")
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    cases = Cases(layout, folder, options.case)
    with tempfile.TemporaryFile("w+b", dir=output.parent) as waiting:
        spool = Spool(waiting)
        for section, entry in cases.entries(Rows(layout, folder, layout_templates(layout, folder.language))):
            spool.add(section, entry)
        if not len(spool):
            raise InputError(_nothing_left(layout, folder, cases))
        if leave_out is not None:
            spool.mark_left_out(leave_out(folder.root, spool))
            folder.counts["in an excluded datalist"] = int((spool.sections == LEFT_OUT).sum())
        split, notes = _split(spool, options, layout)
        report = _report(spool, folder, cases, options, split, notes)
        provenance = _provenance(layout, folder, options, report)
        write_sections(output, spool, provenance)
    return report


class Spool(Sequence[Entry]):
    """Entries in a file, and of each its section and group in memory.

    Images of equal captions are one group where a set tells nothing better (``named`` is 0 then).
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._offsets, self._groups = array("Q", [0]), array("Q")
        self._sections, self._named = array("b"), array("b")

    def add(self, section: str, entry: Entry) -> None:
        line = json.dumps(entry, ensure_ascii=False).encode() + b"\n"
        self._file.write(line)
        self._offsets.append(self._offsets[-1] + len(line))
        self._groups.append(group_number(entry.get("group") or f"text {entry['caption'].lower()}"))
        self._named.append("group" in entry)
        self._sections.append(SECTIONS.index(section) if section else UNASSIGNED)

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, index: Any) -> Any:
        self._file.seek(self._offsets[index])
        return json.loads(self._file.read(self._offsets[index + 1] - self._offsets[index]))

    @property
    def groups(self) -> np.ndarray:
        return np.frombuffer(self._groups, np.uint64)

    @property
    def sections(self) -> np.ndarray:
        return np.frombuffer(self._sections, np.int8)

    @property
    def named(self) -> np.ndarray:
        return np.frombuffer(self._named, np.int8).astype(bool)

    def assign(self, chosen: np.ndarray, sections: np.ndarray | int) -> None:
        self.sections[chosen] = sections

    def mark_left_out(self, chosen: np.ndarray) -> None:
        self.assign(np.asarray(chosen, bool), LEFT_OUT)

    def lines(self, section: int) -> Iterator[bytes]:
        """The lines of a section, without their line breaks."""
        self._file.seek(0)
        for line, number in zip(self._file, self._sections, strict=True):
            if number == section:
                yield line.rstrip(b"\n")


def _split(spool: Spool, options: BuildOptions, layout: Layout) -> tuple[str, list[str]]:
    """Give every entry a section; returns how, and what should be known about it."""
    sections = spool.sections
    official = bool((sections >= 0).any())
    has = {name: bool((sections == number).any()) for number, name in enumerate(SECTIONS)}
    notes: list[str] = []
    if official:
        notes += _settle_crossing(spool, options)
    shares = {"validation": options.validation, "test": options.test}
    usual = {"validation": 0.1, "test": 0.0 if official else 0.1}
    wanted = {name: usual[name] if share is None else share for name, share in shares.items() if not has[name]}
    chosen = np.flatnonzero((sections == 0) | (sections == UNASSIGNED))
    if not any(wanted.values()) or not len(chosen):
        spool.assign(chosen, 0)
    elif options.validation is None and options.test is None and len(np.unique(spool.groups[chosen])) < 3:
        spool.assign(chosen, 0)
        notes.append("there are too few groups for a validation section: all entries are training")
        wanted = {}
    else:
        spool.assign(chosen, assign_groups(spool.groups[chosen], wanted, options.seed))
    if not spool.named.all() and any(wanted.values()):
        notes.append("not all entries name a patient, study or article; of those, equal captions were kept together")
    drawn = ", ".join(f"{name} {share:g}" for name, share in wanted.items() if share)
    how = f"by group, seed {options.seed}: {drawn}" if drawn else ""
    return ("; ".join(filter(None, ("official", how and f"rest {how}"))) if official else how or "none"), notes


def _settle_crossing(spool: Spool, options: BuildOptions) -> list[str]:
    kept = (spool.sections >= 0) & spool.named
    crossing = crossing_groups(spool.groups[kept], spool.sections[kept])
    if not len(crossing):
        return []
    example = spool[int(np.flatnonzero(spool.groups == crossing[0])[0])]["group"]
    text = f"{len(crossing)} groups stand on two sides of the official split, such as '{example}'"
    if options.crossing == "refuse":
        raise InputError(
            f"{text}; --crossing drop leaves their training entries out, --crossing keep takes the split as it is."
        )
    if options.crossing == "drop":
        held_out = np.isin(spool.groups, crossing) & (spool.sections == 0)
        spool.mark_left_out(held_out)
        return [f"{text}: {int(held_out.sum())} training entries were left out"]
    return [f"{text}: kept as published; scores on such images are too good"]


def _report(
    spool: Spool, folder: SetFolder, cases: Cases, options: BuildOptions, split: str, notes: list[str]
) -> BuildReport:
    sections = {name: int((spool.sections == number).sum()) for number, name in enumerate(SECTIONS)}
    named = len(cases.missing) + cases.found
    share = len(cases.missing) / named if named else 0.0
    if cases.missing:
        notes.append(f"{len(cases.missing)} of {named} image files are missing: {shown(cases.missing)}")
    counts = {name: count for name, count in folder.counts.items() if count}
    sections = {name: count for name, count in sections.items() if count}
    return BuildReport(sections, counts, cases.missing, share, split, notes, share > options.max_missing)


def _provenance(layout: Layout, folder: SetFolder, options: BuildOptions, report: BuildReport) -> Entry:
    """Where the datalist comes from, for its own header; the same inputs give the same text."""
    told = {key: value for key, value in asdict(options).items() if value not in (None, "", {})}
    return {
        "set": layout.name,
        "title": layout.title,
        "variant": layout.variant,
        "licence": layout.licence,
        "access": layout.access,
        "options": {**told, "language": folder.language},
        "split": report.split,
        "sections": report.sections,
        "counts": {**report.counts, "missing image files": len(report.missing)},
        "tables": folder.tables,
        "notes": report.notes,
    }


def _nothing_left(layout: Layout, folder: SetFolder, cases: Cases) -> str:
    if cases.missing and not cases.found:
        return f"{folder.root} has none of the images that {layout.title} names, such as {shown(cases.missing, 3)}."
    counted = ", ".join(f"{count} {name}" for name, count in folder.counts.items() if count)
    return f"no entry of {layout.title} is left ({counted}); choose other options."


def write_sections(output: Path, spool: Spool, provenance: Mapping[str, Any]) -> None:
    """Write the entries by section under their ``provenance``, as JSON or JSON Lines by the name of ``output``."""

    def as_lines(file: IO[bytes]) -> None:
        file.write(json.dumps({"datalist": 1, "provenance": provenance}, ensure_ascii=False).encode() + b"\n")
        for number, name in enumerate(SECTIONS):
            file.writelines(b'{"section": "%s", %s\n' % (name.encode(), line[1:]) for line in spool.lines(number))

    def as_json(file: IO[bytes]) -> None:
        file.write(b'{"provenance": ' + json.dumps(provenance, indent=1, ensure_ascii=False).encode())
        for number, name in enumerate(SECTIONS):
            if name in provenance["sections"]:
                file.write(b',\n"%s": [' % name.encode())
                file.writelines((b",\n" if at else b"\n") + line for at, line in enumerate(spool.lines(number)))
                file.write(b"\n]")
        file.write(b"\n}\n")

    write_atomically(output, as_lines if is_json_lines(output) else as_json)
