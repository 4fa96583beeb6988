"""One datalist of several folders: paths relative to a folder above them, groups apart, held-out images kept out.

Validation and test come from the folders that have them; a folder without is for training only. Training entries that
show an image which another folder holds out are left out.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from scripts.data.builders.build import LEFT_OUT, BuildReport, Spool, write_sections
from scripts.data.builders.splits import SECTIONS
from scripts.data.builders.table_files import sha256_of
from scripts.data.check import provenance_of, sections_of
from scripts.data.datalist import image_paths, load_datalist
from scripts.errors import InputError

Entry = dict[str, Any]


class Describe(Protocol):
    """Makes, of the training entries of a folder, what gives each of them its fields and caption."""

    notes: list[str]
    options: Mapping[str, Any]

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

    An output that was joined of the same files by the same options, and without ``leave_out``, stays as it is.

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
    output, root, counts = Path(output), common_folder(sources), Counter[str]()
    made_of = _made_of(sources, root, {"drop": list(drop), **(describe.options if describe else {})})
    if leave_out is None and output.is_file() and (found := _made_already(output, made_of, root)):
        return found
    parts = [_part(Path(source)) for source in sources]
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
        notes = list(describe.notes if describe else ())
        told = {"sections": sections, "counts": dict(counts), "split": "of the folders", "notes": notes}
        write_sections(output, spool, {**made_of, **told})
    return _report(told, root)


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


def _made_of(sources: Sequence[str | Path], root: Path, options: Mapping[str, Any]) -> Entry:
    """What a joined datalist says of its origin: its files with their SHA-256, and the options."""
    files = [_file(Path(source)) for source in sources]
    tables = {os.path.relpath(file, root): sha256_of(file) for file in files}
    return {"set": "joined", "title": "joined of " + ", ".join(tables), "options": dict(options), "tables": tables}


def _made_already(output: Path, made_of: Entry, root: Path) -> BuildReport | None:
    """The report of a datalist that was made of the same; None of any other file."""
    try:
        found = provenance_of(output)
    except InputError:
        return None
    if {key: found.get(key) for key in made_of} != made_of or "sections" not in found:
        return None
    return _report(found, root, "it was joined of the same before, and stays")


def _report(told: Mapping[str, Any], root: Path, *notes: str) -> BuildReport:
    notes = (f"images are relative to {root}", *told["notes"], *notes)
    return BuildReport(told["sections"], told["counts"], [], 0.0, told["split"], list(notes), False)
