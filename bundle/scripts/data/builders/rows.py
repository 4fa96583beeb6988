"""A layout and a folder -> the set's rows with what is joined to them, each with the section it belongs to."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scripts.data.builders.columns import Row, Template, text_of
from scripts.data.builders.formats import read_rows
from scripts.data.builders.layout import Join, Layout, load_layout
from scripts.data.builders.table_files import TableOptions, sha256_of
from scripts.errors import InputError

PEEK = 200
"""So many rows are looked at to learn the columns of a table."""


@dataclass
class SetFolder:
    """The folder of a data set, and what was read of it.

    Args:
        root: the folder.
        language: value of ``{language}``.
        tables: path of every table read, relative to ``root``, to its SHA-256.
        counts: what became of rows, in words.
    """

    root: Path
    language: str = "en"
    tables: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def find(self, files: Sequence[str], variables: Mapping[str, str]) -> list[Path]:
        """What is there of the first of ``files`` that exists: variables are filled in, ``*`` gives all that fit."""
        for pattern in files:
            name = _filled(pattern, {**variables, "language": self.language})
            found = sorted(self.root.glob(name)) if "*" in name else [self.root / name]
            if found and found[0].exists():
                return found
        return []

    def note(self, path: Path) -> None:
        """Keep the SHA-256 of a table; of a folder of tables, one over all its files' names and bytes."""
        name = path.relative_to(self.root).as_posix()
        if name in self.tables:
            return
        if path.is_file():
            self.tables[name] = sha256_of(path)
        elif files := sorted(path.rglob("*.xml")):
            sums = "".join(f"{file.relative_to(path).as_posix()} {sha256_of(file)}\n" for file in files)
            self.tables[name] = hashlib.sha256(sums.encode()).hexdigest()


def choose_variant(name: str, folder: SetFolder, variant: str = "") -> Layout:
    """The first variant of a layout whose table is in the folder.

    Raises:
        InputError: none is, or there is no variant of that name; the message names the files that were looked for.
    """
    variants = load_layout(name)
    named = [layout for layout in variants if not variant or layout.variant == variant]
    if not named:
        raise InputError(f"{name} has no variant '{variant}'; it has {', '.join(v.variant for v in variants)}.")
    for layout in named:
        parts = layout.split_names.values()
        tables = any(folder.find(layout.rows.files, variables) for variables in parts)
        if tables and (not layout.exists or folder.find(layout.exists, {})):
            return layout
    first = [next(iter(layout.split_names.values())) for layout in named]
    files = [_filled(layout.rows.files[0], variables) for layout, variables in zip(named, first, strict=True)]
    looked = ", ".join(dict.fromkeys(files))
    raise InputError(
        f"{folder.root} does not look like {named[0].title}: it has no {looked}; "
        "give --source the folder that holds it."
    )


class Rows:
    """The rows of a layout in a folder.

    Args:
        layout: the variant that the folder has.
        folder: learns which tables were read and how many rows were left out.
        templates: names to templates that will be filled from rows; their columns are looked for at once.
    """

    def __init__(self, layout: Layout, folder: SetFolder, templates: Mapping[str, str]) -> None:
        self.layout, self.folder, self.texts = layout, folder, dict(templates)
        self.compiled: dict[str, Template] = {}

    def __iter__(self) -> Iterator[tuple[str, Row]]:
        """Pairs of our section (empty where the set has no split) and a row; ``compiled`` fits the row."""
        for section, variables in self.layout.split_names.items():
            paths = self.folder.find(self.layout.rows.files, variables)
            if not paths:
                if section == "training":
                    looked = ", ".join(_filled(file, variables) for file in self.layout.rows.files)
                    raise InputError(f"{self.folder.root} has no {looked}, the table of {self.layout.title}.")
                continue
            for path in paths:
                yield from self._of_table(path, section, variables)

    def _of_table(self, path: Path, section: str, variables: Mapping[str, str]) -> Iterator[tuple[str, Row]]:
        self.folder.note(path)
        stream = read_rows(path, _options(self.layout.rows.options, variables))
        head = list(itertools.islice(stream, PEEK))
        if not head:
            raise InputError(f"{path} holds no rows.")
        here = path if path.is_dir() else path.parent
        place = here.relative_to(self.folder.root).as_posix()
        constants = {**variables, "here": place, "language": self.folder.language, "row": ""}
        known = list(dict.fromkeys(itertools.chain(*head, constants)))
        joins = [self._join(join, {**variables, "here": place}, known, str(path)) for join in self.layout.joins]
        known += [column for join in joins for column in join.columns]
        extracts = [(Template.compile(f"{{{column}}}", known, str(path)), re.compile(pattern))
                    for column, pattern in self.layout.extract.items()]  # fmt: skip
        known += [name for _, pattern in extracts for name in pattern.groupindex]
        where = " with ".join([str(path), *(join.name for join in joins if join.name)])
        self.compiled = {name: Template.compile(text, known, where) for name, text in self.texts.items()}
        keep = self._keep(known, str(path))
        for number, row in enumerate(itertools.chain(head, stream)):
            self.folder.counts["rows"] += 1
            row = {**constants, **row, "row": f"{number:08d}"}
            joined = all(join.extend(row) for join in joins)
            for template, pattern in extracts:
                found = pattern.search(template.first(row))
                row.update(found.groupdict("") if found else dict.fromkeys(pattern.groupindex, ""))
            if joined and all(template.first(row).lower() in values for template, values in keep):
                yield section or self._section(row, path), row
            else:
                self.folder.counts["not of this selection"] += 1

    def _section(self, row: Row, path: Path) -> str:
        """Our section of a row whose table has a column for it; empty for a set without a split."""
        if not self.layout.split_column:
            return ""
        value = self.compiled["split_column"].first(row)
        for ours, theirs in self.layout.splits.items():
            if value.lower() in [name.lower() for name in ([theirs] if isinstance(theirs, str) else theirs)]:
                return ours
        raise InputError(
            f"{path}: the split '{value}' in '{self.layout.split_column}' is none of {self.layout.splits}."
        )

    def _keep(self, known: list[str], where: str) -> list[tuple[Template, set[str]]]:
        kept = []
        for column, values in self.layout.keep.items():
            texts = [values] if isinstance(values, str) else values
            wanted = {_filled(text, {"language": self.folder.language}).lower() for text in texts}
            kept.append((Template.compile(f"{{{column}}}", known, where), wanted))
        return kept

    def _join(self, join: Join, variables: Mapping[str, str], known: list[str], where: str) -> _Joined:
        paths = self.folder.find(join.table.files, variables)
        if not paths:
            if join.optional:
                return _Joined(None, {}, list(join.brings), optional=True)
            looked = ", ".join(_filled(file, variables) for file in join.table.files)
            raise InputError(f"{self.folder.root} has no {looked}, which {self.layout.title} needs.")
        path, wanted = paths[0], self._mentioned()
        self.folder.note(path)
        stream = read_rows(path, join.table.options)
        head = list(itertools.islice(stream, PEEK))
        columns = list(dict.fromkeys(itertools.chain(*head)))
        key = Template.compile(join.key, columns, str(path))
        kept = [column for column in columns if column.strip().lower() in wanted and column not in known]
        rows = {key.first(row): {c: row.get(c) for c in kept} for row in itertools.chain(head, stream)}
        return _Joined(Template.compile(join.on, known, where), rows, kept, join.optional, path.name)

    def _mentioned(self) -> set[str]:
        """Lower-case heads of all columns that templates name: a joined table keeps no others in memory."""
        slots = re.findall(r"\{\??([^{}:]+)(?::\d+)?\}", " ".join(self.texts.values()))
        named = [*slots, *self.layout.keep, *(column.lstrip("?") for column in self.layout.extract)]
        spellings = [spelling for slot in named for spelling in slot.split("|")]
        return {re.split(r"[.\[]", spelling)[0].strip().lower() for spelling in spellings}


@dataclass
class _Joined:
    """Another table in memory, by key; ``extend`` adds its columns to a row, and says whether the row may stay."""

    on: Template | None
    rows: dict[str, Row]
    columns: list[str]
    optional: bool
    name: str = ""

    def extend(self, row: Row) -> bool:
        found = self.rows.get(self.on.first(row)) if self.on else None
        row.update(found or dict.fromkeys(self.columns))
        return found is not None or self.optional


def _options(options: TableOptions, variables: Mapping[str, str]) -> TableOptions:
    """How this split's table is read: its list of records, and columns of its own where it has them."""
    columns = variables.get("columns", "")
    records = _filled(options.records, variables)
    return replace(options, records=records, columns=columns.split(",") if columns else options.columns)


def _filled(text: str, variables: Mapping[str, Any]) -> str:
    for name, value in variables.items():
        text = text.replace(f"{{{name}}}", text_of(value))
    return text
