"""Checking a datalist as a whole: every entry, every file, and no group on two sides.

Memory holds 9 bytes an entry and the folders that were looked into, however long the datalist is.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scripts.data.builders.splits import crossing_groups, group_number
from scripts.data.datalist import load_datalist, read_sections
from scripts.data.json_lines import is_json_lines, read_header, section_names
from scripts.errors import InputError


@dataclass
class CheckResult:
    """Entries a section, groups, and what is wrong, in sentences."""

    sections: dict[str, int] = field(default_factory=dict)
    groups: int = 0
    ungrouped: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The result for a terminal."""
        counted = ", ".join(f"{count:,} {name}" for name, count in self.sections.items())
        grouped = f"{self.groups:,} groups" + (f", {self.ungrouped:,} entries without one" if self.ungrouped else "")
        return "\n".join([counted or "no entries", grouped, *self.problems, "all is well" if not self.problems else ""])


def check_datalist(file: str | Path, dataset_dir: str | Path) -> CheckResult:
    """Check all sections of a datalist; an entry that cannot be used ends its section's check.

    Raises:
        InputError: the datalist cannot be read.
    """
    path, result = Path(file), CheckResult()
    groups, sections = array("Q"), array("b")
    for number, name in enumerate(sections_of(path)):
        try:
            items = load_datalist(path, section=name, dataset_dir=dataset_dir, require_caption=True, checked=False)
            for item in items:  # each is checked as it is read
                if (group := item.get("group")) is None:
                    result.ungrouped += 1
                else:
                    groups.append(group_number(str(group)))
                    sections.append(number)
        except InputError as error:
            result.problems.append(str(error))
            continue
        result.sections[name] = len(items)
    numbers = np.frombuffer(groups, np.uint64) if groups else np.empty(0, np.uint64)
    result.groups = len(np.unique(numbers))
    crossing = crossing_groups(numbers, np.frombuffer(sections, np.int8)) if groups else numbers
    if len(crossing):
        name = _name_of(path, int(crossing[0]), dataset_dir)
        result.problems.append(
            f"{len(crossing)} groups stand in more than one section, such as '{name}'; keep each on one side."
        )
    return result


def sections_of(path: Path) -> list[str]:
    """The names of a datalist's sections, those of entries with images.

    Raises:
        InputError: it cannot be read.
    """
    if is_json_lines(path):
        read_header(path)  # refuses a file that is none
        return section_names(path)
    return [name for name, value in read_sections(path).items() if isinstance(value, list) and _has_images(value)]


def provenance_of(path: Path) -> dict[str, Any]:
    """What a datalist says of where it comes from; empty where it says nothing."""
    content = read_header(path) if is_json_lines(path) else read_sections(path)
    found = content.get("provenance")
    return found if isinstance(found, dict) else {}


def _has_images(entries: list[Any]) -> bool:
    return bool(entries) and isinstance(entries[0], dict) and "image" in entries[0]


def _name_of(path: Path, number: int, dataset_dir: str | Path) -> str:
    """The group whose number this is."""
    for name in sections_of(path):
        for item in load_datalist(path, section=name, dataset_dir=dataset_dir, check_files=False):
            if "group" in item and group_number(str(item["group"])) == number:
                return str(item["group"])
    return ""
