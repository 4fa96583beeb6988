"""Layouts made on the spot: any table, and datalists of other tools. Columns are named or found."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.data.builders.columns import Row, text_of
from scripts.data.builders.formats import SECTION_NAMES, read_rows
from scripts.data.builders.layout import Layout, Table
from scripts.data.builders.table_files import TableOptions
from scripts.data.datalist import IMAGE_SUFFIXES
from scripts.errors import InputError

GENERIC = ("table", "datalist")
_IMAGE = ("image", "image_path", "img_path", "path_to_image", "filename", "file_name", "file", "path", "images",
          "filepath", "dicom_path", "image_name", "image_id", "id")  # fmt: skip
_CAPTION = ("caption", "captions", "text", "report", "findings", "impression", "description", "label", "sentence")
_GROUP = ("group", "patient_id", "patientid", "patient", "subject_id", "subject", "study_id", "case_id", "pmcid",
          "pmc_id", "article_id", "uid")  # fmt: skip
_PLACES = ("{%s}", "images/{%s}", "{%s}.jpg", "{%s}.png", "images/{%s}.jpg", "images/{%s}.png")


@dataclass(frozen=True)
class NamedColumns:
    """What the user says of a table; empty is found.

    Args:
        table: file below the source folder.
        image, caption, group: templates, such as ``images/{ID}.png``, or names of columns.
        split, licence, modality: names of columns.
        options: how the table is read.
    """

    table: str = ""
    image: str = ""
    caption: str = ""
    group: str = ""
    split: str = ""
    licence: str = ""
    modality: str = ""
    options: TableOptions = TableOptions()


def generic_layout(name: str, folder: Path, named: NamedColumns) -> Layout:
    """The layout of a table, or of a datalist, in a folder.

    Raises:
        InputError: there is no table, or its columns do not show which is which.
    """
    pattern = "*.json" if name == "datalist" else "*"
    path = folder / named.table if named.table else _only_table(folder, pattern)
    if not path.is_file():
        raise InputError(f"there is no table {path}; name one below {folder} with --table.")
    options = TableOptions(format="datalist") if name == "datalist" else named.options
    rows = list(itertools.islice(read_rows(path, options), 200))
    if not rows:
        raise InputError(f"{path} holds no rows.")
    columns = list(dict.fromkeys(itertools.chain(*rows)))
    image = _template(named.image) or _found_image(rows, columns, path)
    caption = _template(named.caption) or f"{{{_found_caption(rows, columns, path, image[0])}}}"
    split = named.split or next((c for c in columns if c.lower() in ("split", "section", "subset")), "")
    group = _template(named.group) or next((f"{{{c}}}" for c in columns if c.lower() in _GROUP), "")
    whose = {"carry": True, "views": "case"} if name == "datalist" else {}
    return Layout(
        name=path.stem,
        title=f"the table {path.name}",
        licence="of the data set",
        rows=Table((path.relative_to(folder).as_posix(),), options),
        image=(image,) if isinstance(image, str) else tuple(image),
        caption={"": caption},
        group=group,
        split_column=split,
        splits={ours: list(theirs) for ours, theirs in SECTION_NAMES.items()} if split else {},
        image_licence=f"{{{named.licence}}}" if named.licence else "",
        modality=f"{{{named.modality}}}" if named.modality else "",
        **whose,
    )


def _template(text: str) -> str:
    """A column's name as a template; a template as it is."""
    return text if not text or "{" in text else f"{{{text}}}"


def _only_table(folder: Path, pattern: str) -> Path:
    kinds = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".xlsx", ".csv.gz", ".tsv.gz", ".jsonl.gz")
    found = sorted(file for file in folder.glob(pattern) if file.name.lower().endswith(kinds))
    if len(found) != 1:
        names = ", ".join(file.name for file in found[:8]) or "none"
        raise InputError(f"{folder} has {len(found)} tables ({names}); name one with --table.")
    return found[0]


def _found_image(rows: Sequence[Row], columns: Sequence[str], path: Path) -> Sequence[str]:
    """Where images may lie: the column by its name, else the one whose values end like images."""
    named = _by_name(_IMAGE, columns)
    ending = [c for c in columns if all(text_of(row.get(c)).lower().endswith(IMAGE_SUFFIXES) for row in rows[:20])]
    column = next(iter(ending), None) or named
    if column is None:
        raise InputError(f"{path}: no column holds images ({', '.join(columns[:20])}); name it with --image-column.")
    several = any(isinstance(row.get(column), list) for row in rows)
    return [place % (column + "[]" * several) for place in _PLACES]


def _found_caption(rows: Sequence[Row], columns: Sequence[str], path: Path, image: str) -> str:
    """The column by its name, else the one with the longest texts."""
    others = [column for column in columns if f"{{{column}" not in image]
    if (named := _by_name(_CAPTION, others)) is not None:
        return named
    words = {c: sum(len(text_of(row.get(c)).split()) for row in rows) / len(rows) for c in others}
    best = max(words, key=words.__getitem__, default="")
    if not best or words[best] < 3:
        raise InputError(
            f"{path}: no column holds captions ({', '.join(columns[:20])}); name it with --caption-column."
        )
    return best


def _by_name(names: Iterable[str], columns: Sequence[str]) -> str | None:
    lower = {column.strip().lower(): column for column in reversed(columns)}
    return next((lower[name] for name in names if name in lower), None)
