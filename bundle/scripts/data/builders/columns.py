"""Column paths and templates: how a layout names values in a row.

A path is a column name (``Caption``), a way into nested records (``Description.Caption``), or one through lists
(``findings[].sentence_en``). ``|`` stands between other spellings of one column (``ID|image_id``). Case does not count.
A template is text with paths in braces, ``images/{ID}.jpg``; ``{subject_id:2}`` takes the first two characters, and
``{?age}`` is nothing where the table has no such column. A list in a template gives one text for each of its values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from scripts.errors import InputError

Row = dict[str, Any]
_SLOT = re.compile(r"\{([^{}:]+)(?::(\d+))?\}")


def resolve_path(path: str, known: Iterable[str], where: str) -> tuple[str, ...]:
    """The steps of a column path, its first one in the spelling of the table.

    Args:
        path: see the module's text.
        known: the columns that there are.
        where: the table, for the message.

    Raises:
        InputError: no column of that name; the message names those that there are.
    """
    columns = list(known)
    for spelling in path.split("|"):
        if (column := _spelled(spelling, columns)) is not None:
            return (column,)
        head, dot, rest = spelling.partition(".")
        ending = "[]" if head.endswith("[]") else ""
        if (dot or ending) and (column := _spelled(head.removesuffix("[]"), columns)) is not None:
            return (column + ending, *rest.split(".")) if dot else (column + ending,)
    shown = ", ".join(columns[:20]) + (" ..." if len(columns) > 20 else "")
    raise InputError(f"{where} has no column '{path}'; its columns are {shown or 'none'}.")


def _spelled(name: str, columns: list[str]) -> str | None:
    if name in columns:
        return name
    return next((column for column in columns if column.strip().lower() == name.strip().lower()), None)


def lookup(row: Mapping[str, Any], steps: tuple[str, ...]) -> Any:
    """The value at a resolved path; a list where a step goes through one, None where there is nothing."""
    value: Any = row
    for number, step in enumerate(steps):
        if not isinstance(value, Mapping):
            return None
        value = value.get(step.removesuffix("[]"))
        if step.endswith("[]"):
            members = value if isinstance(value, list | tuple) else [] if value is None else [value]
            rest = steps[number + 1 :]
            return [lookup(member, rest) for member in members] if rest else list(members)
    return value


def text_of(value: Any) -> str:
    """A value of a table as text: white space joined, lists joined by spaces, nothing for what is absent or NaN."""
    if isinstance(value, str):
        return " ".join(value.split())
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, list | tuple):
        return " ".join(filter(None, map(text_of, value)))
    return " ".join(str(value).split())


@dataclass(frozen=True)
class Template:
    """A template whose column names were found: literal texts with paths between them.

    Args:
        text: the template as it was written.
        slots: ``(steps, length)`` of every brace, in order; length 0 takes the whole value.
        literals: the texts around the braces, one more than these.
    """

    text: str
    slots: tuple[tuple[tuple[str, ...], int], ...]
    literals: tuple[str, ...]

    @classmethod
    def compile(cls, text: str, known: Iterable[str], where: str) -> Template:
        """Find the columns that ``text`` names; see :func:`resolve_path` for what is raised."""
        known = list(known)
        found = _SLOT.findall(text)
        slots = tuple((_steps(path, known, where), int(length or 0)) for path, length in found)
        return cls(text, slots, tuple(_SLOT.split(text)[::3]))

    def fill(self, row: Mapping[str, Any]) -> list[str]:
        """The text for a row, one for each value of a list; none where a value is absent."""
        filled = [self.literals[0]]
        for (steps, length), literal in zip(self.slots, self.literals[1:], strict=True):
            values = _values(row, steps, length)
            filled = [text + value + literal for text in filled for value in values]
        return filled

    def first(self, row: Mapping[str, Any]) -> str:
        """The first text for a row, empty where a value is absent."""
        return next(iter(self.fill(row)), "")


def _steps(path: str, known: list[str], where: str) -> tuple[str, ...]:
    if not path.startswith("?"):
        return resolve_path(path, known, where)
    try:
        return resolve_path(path[1:], known, where)
    except InputError:
        return (path,)  # no row has it


def _values(row: Mapping[str, Any], steps: tuple[str, ...], length: int) -> list[str]:
    value = row.get(steps[0]) if len(steps) == 1 and not steps[0].endswith("[]") else lookup(row, steps)
    if isinstance(value, str):  # what nearly all are
        text = " ".join(value.split())
        return [text[:length] if length else text] if text else []
    texts = [text_of(member) for member in (value if isinstance(value, list | tuple) else [value])]
    return [text[:length] if length else text for text in texts if text]
