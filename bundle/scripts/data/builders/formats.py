"""Sources of rows that are no plain tables: OpenI's XML, JSON keyed by image, a text beside each image, datalists.

Each reads a path and gives rows, as `table_files.read_table` does; `read_rows` is the door to both.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path

from scripts.data.builders.columns import Row
from scripts.data.builders.table_files import TableOptions, open_text, read_json, read_table
from scripts.data.datalist import IMAGE_SUFFIXES
from scripts.errors import InputError

SECTION_NAMES = {
    "training": ("training", "train", "Train", "trainset"),
    "validation": ("validation", "valid", "val", "dev", "validate"),
    "test": ("test", "testing", "Test", "testset"),
}
"""How lists of a datalist are called elsewhere."""


def read_rows(path: Path, options: TableOptions) -> Iterator[Row]:
    """The rows of a source of any format.

    Raises:
        InputError: it cannot be read.
    """
    reader = _SOURCES.get(options.format)
    return reader(path, options) if reader else read_table(path, options)


def _openi(folder: Path, options: TableOptions) -> Iterator[Row]:
    """OpenI's reports, one XML a study: ``uid``, a column a section, ``images`` (names), ``mesh``."""
    for file in sorted(folder.rglob("*.xml"), key=lambda file: (len(file.stem), file.stem)):
        try:
            root = ElementTree.parse(file).getroot()
        except ElementTree.ParseError as error:
            raise InputError(f"{file} is no XML report, or is damaged ({error}).") from error
        report = root.find("uId")
        row: Row = {"uid": report.get("id", file.stem) if report is not None else file.stem}
        for text in root.iter("AbstractText"):
            row[str(text.get("Label", "")).lower()] = " ".join("".join(text.itertext()).split())
        row["images"] = [f"{image.get('id')}.png" for image in root.iter("parentImage")]
        row["mesh"] = [tag.text for tag in root.iter("major") if tag.text]
        yield {"findings": "", "impression": "", "indication": "", "comparison": "", **row}


def _keyed(path: Path, options: TableOptions) -> Iterator[Row]:
    """``{image: {...}}``, or a list of such objects: the row is the inner object with ``key``, the image."""
    content = read_json(path)
    for part in content if isinstance(content, list) else [content]:
        if not isinstance(part, dict):
            raise InputError(f"{path}: must hold objects of the form {{image: {{...}}}}, not {str(part)[:60]!r}.")
        for key, value in part.items():
            yield {**(value if isinstance(value, dict) else {"value": value}), "key": key}


def _sidecars(folder: Path, options: TableOptions) -> Iterator[Row]:
    """A text file beside each image of the same name: ``image`` (relative to the folder), ``text`` (empty without)."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(place)
        for name in sorted(names):
            if name.lower().endswith(IMAGE_SUFFIXES):
                yield {"image": (here / name).relative_to(folder).as_posix(), "text": _text_beside(here / name)}


def _text_beside(image: Path) -> str:
    for ending in (".txt", ".caption"):
        stem = image.name.removesuffix(".gz")
        for file in (image.with_name(image.name + ending), image.with_name(stem.rpartition(".")[0] + ending)):
            if file.is_file():
                with open_text(file) as stream:
                    return " ".join(stream.read().split())
    return ""


def _datalist(path: Path, options: TableOptions) -> Iterator[Row]:
    """All lists of a MONAI-style datalist, whatever they are called; the list's name is in the column ``section``."""
    if path.suffix.lower() == ".jsonl":
        yield from (row for row in read_table(path, TableOptions(format="jsonl")) if "image" in row)
        return
    content = read_json(path)
    if isinstance(content, list):
        content = {"": content}
    for name, entries in content.items() if isinstance(content, dict) else ():
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict):
                yield {**entry, "section": name}


_SOURCES: dict[str, Callable[[Path, TableOptions], Iterator[Row]]] = {
    "openi": _openi,
    "keyed": _keyed,
    "sidecars": _sidecars,
    "datalist": _datalist,
}
