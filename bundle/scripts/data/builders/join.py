"""One datalist of several folders: paths relative to a folder above them, groups apart, held-out images kept out.

Validation and test come from the folders that have them; a folder without is for training only. Training entries that
show an image which another folder holds out are left out.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from scripts.data.builders.build import LEFT_OUT, BuildReport, Spool, write_sections
from scripts.data.builders.splits import SECTIONS
from scripts.data.builders.table_files import sha256_of
from scripts.data.check import sections_of
from scripts.data.datalist import image_paths, load_datalist
from scripts.errors import InputError

Entry = dict[str, Any]


class Describe(Protocol):
    """Makes, of the training entries of a folder, what gives each of them its fields and caption."""

    notes: list[str]

    def __call__(self, entries: Sequence[Entry], held_out: bool) -> Callable[[Entry, str], Entry | None]:
        """For these entries, whose folder has held-out entries or none: (entry, its image) to entry or None."""
        ...


@dataclass
class Part:
    """One of the folders: its datalist and its sections, images absolute."""

    folder: Path
    file: Path
    sections: dict[str, Sequence[Entry]] = field(default_factory=dict)

    @property
    def held_out(self) -> list[Entry]:
        return [entry for name in SECTIONS[1:] for entry in self.sections.get(name, ())]


def join_datalists(
    sources: Sequence[str | Path],
    output: str | Path,
    *,
    describe: Describe | None = None,
    drop: Sequence[str] = (),
    leave_out: Callable[[Path, Sequence[Entry]], np.ndarray] | None = None,
    progress: bool = True,
) -> BuildReport:
    """Join the datalists of folders into one, whose images are relative to :func:`common_folder` of them.

    Args:
        sources: folders with a ``datalist.json`` or ``datalist.jsonl``, or such files.
        output: the datalist.
        describe: gives training entries fields and captions; None leaves them as they are.
        drop: training entries that have one of these keys, not false or empty, are left out.
        leave_out: given a folder and the entries, which of them to leave out besides, bool `[N]`.
        progress: show progress bars.

    Raises:
        InputError: a datalist cannot be used, or there is nothing to train on.
    """
    parts = [_part(Path(source)) for source in sources]
    root, counts = common_folder(sources), Counter[str]()
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile("w+b", dir=output.parent) as waiting:
        spool = Spool(waiting)
        for part in parts:
            shown = _shown_elsewhere(part, parts, progress)
            for section, entry in _entries(part, shown, describe, drop, counts):
                spool.add(section, _placed(entry, root, part.folder))
        if leave_out is not None and len(spool):
            spool.mark_left_out(leave_out(root, spool) & (spool.sections == 0))
            counts["in an excluded datalist"] = int((spool.sections == LEFT_OUT).sum())
        sections = {name: int((spool.sections == number).sum()) for number, name in enumerate(SECTIONS)}
        if not sections["training"]:
            raise InputError("no training entry is left of " + ", ".join(str(part.file) for part in parts) + ".")
        sections = {name: count for name, count in sections.items() if count}
        notes = [f"images are relative to {root}", *(describe.notes if describe else ())]
        report = BuildReport(sections, dict(counts), [], 0.0, "of the folders", notes, False)
        write_sections(output, spool, _provenance(parts, root, report))
    return report


def common_folder(sources: Sequence[str | Path]) -> Path:
    """The folder above all sources, which a joined datalist's images are relative to."""
    return Path(os.path.commonpath([_file(Path(source)).parent for source in sources]))


def _file(source: Path) -> Path:
    """The datalist of a folder, or the one that is given.

    Raises:
        InputError: there is none.
    """
    files = [source / "datalist.json", source / "datalist.jsonl"] if source.is_dir() else [source]
    for file in files:
        if file.is_file():
            return file.parent.resolve() / file.name
    raise InputError(f"{source} has no datalist.json; make one with: python -m scripts.commands.datalist NAME ...")


def _part(source: Path) -> Part:
    """A folder or a datalist as a part, its sections read and checked.

    Raises:
        InputError: an entry cannot be used.
    """
    file = _file(source)
    folder = file.parent
    names = [name for name in SECTIONS if name in sections_of(file)]
    return Part(folder, file, {name: load_datalist(file, section=name, dataset_dir=folder) for name in names})


def _shown_elsewhere(part: Part, parts: Sequence[Part], progress: bool) -> set[int]:
    """Training entries of a part, by number, that show an image which another part holds out."""
    from scripts.data.leaks.bank import Bank, same_images

    held_out = [entry for other in parts if other is not part for entry in other.held_out]
    training = part.sections.get("training", ())
    if not held_out or not len(training):
        return set()
    pairs = same_images(Bank(training, progress=progress), Bank(held_out, progress=progress))
    return {pair.first for pair in pairs}


def _entries(
    part: Part, shown: set[int], describe: Describe | None, drop: Sequence[str], counts: Counter[str]
) -> Iterator[tuple[str, Entry]]:
    """Section and entry of each that stays; the others are counted."""
    training = part.sections.get("training", ())
    described = describe(training, bool(part.held_out)) if describe else None
    for number, entry in enumerate(training):
        kept: Entry | None = entry
        if number in shown:
            counts["training entries that show a held-out image"] += 1
        elif found := next((key for key in drop if entry.get(key)), None):
            counts[f"{found}, dropped"] += 1
        else:
            name = os.path.relpath(image_paths(entry)[0], part.folder)
            kept = described(entry, name) if described else entry
            if kept and str(kept.get("caption") or "").strip():
                yield "training", kept
            else:
                counts["without a caption, or what would make one"] += 1
    for section in SECTIONS[1:]:
        yield from ((section, entry) for entry in part.sections.get(section, ()))


def _placed(entry: Entry, root: Path, folder: Path) -> Entry:
    """An entry of the joined datalist: its images relative to the root, its group of this folder only."""
    paths = [os.path.relpath(path, root).replace(os.sep, "/") for path in image_paths(entry)]
    placed = {**entry, "image": paths[0] if isinstance(entry["image"], str) else paths}
    if entry.get("group") is not None:
        placed["group"] = f"{os.path.relpath(folder, root)}:{entry['group']}"
    return placed


def _provenance(parts: Sequence[Part], root: Path, report: BuildReport) -> Entry:
    tables = {os.path.relpath(part.file, root): sha256_of(part.file) for part in parts}
    return {
        "set": "joined",
        "title": "joined of " + ", ".join(tables),
        "split": report.split,
        "sections": report.sections,
        "counts": report.counts,
        "tables": tables,
        "notes": report.notes[1:],
    }
