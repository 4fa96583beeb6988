"""Layouts of data sets, as data: which table holds the rows, what is joined to it, which column is what.

A layout is a JSON file in ``layouts/``, or one of the user's own; ``docs/extending.md`` lists its keys. Paths are
relative to the folder that ``--source`` names and may hold ``*``, ``**`` and variables: ``{split}`` and others of
``splits``, ``{language}``, ``{here}`` (folder of the table). Several paths are tried in order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from scripts.data.builders.table_files import TableOptions
from scripts.errors import InputError

FOLDER = Path(__file__).parent / "layouts"


@dataclass(frozen=True)
class Table:
    """Where rows stand: ``files`` to try in order, and how they are read."""

    files: tuple[str, ...]
    options: TableOptions = field(default_factory=TableOptions)


@dataclass(frozen=True)
class Join:
    """Columns of another table for each row.

    Args:
        table: the other table.
        on: template of the row's key, such as ``{ID}``.
        key: template of the other table's key.
        optional: whether rows may do without it; a row that is not in a required table is left out and counted.
        brings: its columns that the layout names, for folders without an optional table.
    """

    table: Table
    on: str
    key: str
    optional: bool = False
    brings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """A data set's layout; see ``docs/extending.md`` for each key."""

    name: str
    title: str
    rows: Table
    image: tuple[str, ...]
    caption: Mapping[str, str]
    licence: str = "unknown"
    commercial: bool = False
    access: str = ""
    notes: str = ""
    splits: Mapping[str, Any] = field(default_factory=dict)
    joins: tuple[Join, ...] = ()
    extract: Mapping[str, str] = field(default_factory=dict)
    keep: Mapping[str, Any] = field(default_factory=dict)
    split_column: str = ""
    group: str = ""
    case: str = ""
    source_id: str = ""
    archive_id: str = ""
    section: str = ""
    report: str = ""
    strip: str = ""
    min_words: int = 1
    view: str = ""
    frontal: tuple[str, ...] = ()
    views: str = "all"
    languages: tuple[str, ...] = ("en",)
    image_licence: str = ""
    modality: str = ""
    body_part: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    answers: Mapping[str, Any] = field(default_factory=dict)
    join_texts: bool = False
    picture: str = ""
    volume: bool = False
    rescale: tuple[str, ...] = ()
    exists: tuple[str, ...] = ()
    carry: bool = False
    variant: str = ""

    @property
    def split_names(self) -> dict[str, dict[str, str]]:
        """Our section to the variables that it sets; ``{"": {}}`` for a set without files per split."""
        if not self.splits or self.split_column:
            return {"": {}}
        return {ours: v if isinstance(v, dict) else {"split": v} for ours, v in self.splits.items()}


def layout_names() -> list[str]:
    """Names of the layouts that ship here."""
    return sorted(file.stem for file in FOLDER.glob("*.json"))


def load_layout(name: str) -> list[Layout]:
    """The variants of a layout, in the order in which they are tried.

    Args:
        name: of one in ``layouts/``, or the path of a JSON file.

    Raises:
        InputError: there is none of that name, or its keys are not those of a layout.
    """
    path = Path(name) if name.endswith(".json") else FOLDER / f"{name}.json"
    if not path.is_file():
        raise InputError(f"no layout is called '{name}'; there are {', '.join(layout_names())}, or give a JSON file.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InputError(f"layout {path} is not valid JSON: {error}.") from error
    base = {key: value for key, value in content.items() if key != "variants" and not key.startswith("_")}
    return [_layout(path, {**base, **variant}) for variant in content.get("variants", [{}])]


def _layout(path: Path, content: dict[str, Any]) -> Layout:
    known = {part.name for part in fields(Layout)} - {"name"}
    content = {key: value for key, value in content.items() if not key.startswith("_")}
    if unknown := set(content) - known:
        raise InputError(f"layout {path} has the unknown keys {sorted(unknown)}; known are {sorted(known)}.")
    if missing := {"title", "rows", "image", "caption"} - set(content):
        raise InputError(f"layout {path} lacks {sorted(missing)}.")
    caption = content["caption"]
    values = {
        **{key: _tuple(content[key]) for key in ("frontal", "languages", "rescale", "exists") if key in content},
        "rows": _table(path, content["rows"]),
        "joins": tuple(_join(path, join) for join in content.get("joins", ())),
        "image": _tuple(content["image"]),
        "caption": {"": caption} if isinstance(caption, str) else caption,
    }
    return Layout(name=path.stem, **{**content, **values})


def _tuple(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _table(path: Path, content: Any) -> Table:
    content = {"files": content} if isinstance(content, str | list) else dict(content)
    files = _tuple(content.pop("files", ()))
    try:
        return Table(files, TableOptions(**content))
    except TypeError as error:
        raise InputError(f"layout {path}: a table is described by files and TableOptions ({error}).") from error


def _join(path: Path, content: dict[str, Any]) -> Join:
    content = dict(content)
    named = {key: content.pop(key) for key in ("on", "key", "optional", "brings") if key in content}
    if missing := {"on", "key"} - set(named):
        raise InputError(f"layout {path}: a join needs {sorted(missing)}.")
    return Join(_table(path, content), **{**named, "brings": _tuple(named.get("brings", ()))})
