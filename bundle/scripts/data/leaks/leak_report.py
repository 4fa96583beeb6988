"""Leaks between the sections of a datalist, or between two datalists, as a report."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from scripts.atomic import write_text_atomically
from scripts.data.builders.splits import SECTIONS
from scripts.data.check import sections_of
from scripts.data.datalist import image_paths, load_datalist
from scripts.data.leaks.bank import Bank, same_images
from scripts.errors import InputError

MEANING = {
    "content": "the same file",
    "archive image": "the same number in an archive",
    "look": "the same picture in another size, crop, window or compression",
    "archive article": "figures of one article, which need not be the same",
}


@dataclass
class LeakReport:
    """Pairs of entries that show one image, each ``{"kind", "score", "first", "second"}``; texts for people."""

    compared: list[str] = field(default_factory=list)
    pairs: list[dict[str, Any]] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Counts by kind and the surest pairs of each."""
        lines = [f"compared: {'; '.join(self.compared)}"]
        counts = Counter(pair["kind"] for pair in self.pairs)
        lines += [f"{counts[kind]:>7,} {kind}: {meaning}" for kind, meaning in MEANING.items() if counts[kind]]
        for kind in counts:
            shown = [pair for pair in self.pairs if pair["kind"] == kind][:5]
            lines += [f"        {pair['first']} = {pair['second']} ({pair['score']:.2f})" for pair in shown]
        if self.unreadable:
            lines.append(f"{len(self.unreadable)} images could not be read, first: {self.unreadable[0]}")
        return "\n".join([*lines, "no leak was found" if not self.pairs else f"{len(self.pairs):,} pairs in all"])


def leak_report(
    file: str | Path,
    *,
    dataset_dir: str | Path | None = None,
    against: str | Path | None = None,
    json_file: str | Path | None = None,
    progress: bool = True,
) -> LeakReport:
    """Compare every two sections of a datalist, or all of it with all of another one.

    Args:
        file: the datalist.
        dataset_dir: folder of its images; its own by default.
        against: another datalist, whose images are relative to its own folder.
        json_file: all pairs are written here.

    Raises:
        InputError: a datalist cannot be used, or there is nothing to compare with.
    """
    report = LeakReport()
    own = section_banks(Path(file), dataset_dir, progress=progress)
    if against is not None:
        others = section_banks(Path(against), None, progress=progress)
        couples = [(a, f"{against} {b}", own[a], others[b]) for a in own for b in others]
    elif len(own) < 2:
        raise InputError(f"datalist {file} has one section only; compare it with another datalist by --against.")
    else:
        couples = [(b, a, own[b], own[a]) for a, b in combinations(own, 2)]
    for first_name, second_name, first, second in couples:
        report.compared.append(f"{first_name} ({len(first.entries):,}) with {second_name} ({len(second.entries):,})")
        for pair in same_images(first, second):
            named = (_name(first, pair.first), _name(second, pair.second))
            about = {"first_section": first_name, "second_section": second_name, "first": named[0], "second": named[1]}
            report.pairs.append({"kind": pair.kind, "score": round(pair.score, 4), **about})
    banks = {id(bank): bank for _, _, first, second in couples for bank in (first, second)}
    report.unreadable = [text for bank in banks.values() for text in bank.unreadable]
    if json_file is not None:
        content = {"compared": report.compared, "pairs": report.pairs, "unreadable": report.unreadable}
        write_text_atomically(json_file, json.dumps(content, indent=1) + "\n")
    return report


def section_banks(file: Path, dataset_dir: str | Path | None, *, progress: bool) -> dict[str, Bank]:
    """A bank for each section of a datalist."""
    root = Path(dataset_dir) if dataset_dir else file.parent
    names = sorted(sections_of(file), key=lambda name: (*SECTIONS, name).index(name))
    lists = {name: load_datalist(file, section=name, dataset_dir=root, check_files=False) for name in names}
    return {name: Bank(entries, progress=progress) for name, entries in lists.items()}


def _name(bank: Bank, number: int) -> str:
    paths: Sequence[str] = image_paths(bank.entries[number])
    return Path(paths[0]).name if len(paths) == 1 else f"{Path(paths[0]).name} and {len(paths) - 1} more"
