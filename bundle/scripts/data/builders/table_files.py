"""Tables as streams of rows: CSV, TSV, JSON Lines, JSON, Parquet, Excel, plain or gzipped.

The format is told by the file's name, the separator by its first line. Nothing is held beyond one row, but for JSON and
Excel. Parquet needs ``pyarrow``, Excel ``openpyxl``; both say so where they are absent.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from scripts.data.builders.columns import Row
from scripts.errors import InputError

SEPARATORS = "\t,;|"
_ENDINGS = {
    ".csv": "csv", ".tsv": "tsv", ".txt": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json",
    ".parquet": "parquet", ".xlsx": "xlsx", ".xlsm": "xlsx",
}  # fmt: skip


@dataclass(frozen=True)
class TableOptions:
    """How a table is read where its name and first line do not tell.

    Args:
        format: ``csv``, ``tsv``, ``jsonl``, ``json``, ``parquet`` or ``xlsx``; empty goes by the name.
        columns: names of a file without a header line.
        separator: between cells; empty is found in the first line.
        quoted: False where quotation marks are part of the text.
        records: of JSON, the key whose list holds the rows; empty for a list, or the only list there is.
    """

    format: str = ""
    columns: Sequence[str] = ()
    separator: str = ""
    quoted: bool = True
    records: str = ""


def format_of(path: Path) -> str:
    """The format that a file's name tells, empty where it tells none."""
    return _ENDINGS.get(Path(path.name.lower().removesuffix(".gz")).suffix, "")


def read_table(path: Path, options: TableOptions | None = None) -> Iterator[Row]:
    """The rows of a table, one at a time.

    Raises:
        InputError: the file cannot be read, is of no known format, or a row has more cells than there are columns.
    """
    options = options or TableOptions()
    kind = options.format or format_of(path)
    if kind not in FORMATS:
        known = ", ".join(FORMATS)
        raise InputError(f"{path} is no table that is read here ({known}); name its format, or convert it to CSV.")
    try:
        yield from FORMATS[kind](path, options)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from error
    except (OSError, EOFError, gzip.BadGzipFile) as error:
        raise InputError(f"{path} cannot be read: {error}.") from error


def open_text(path: Path) -> IO[str]:
    """A text file, gzipped or not, its byte order mark left out."""
    raw = gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")  # noqa: SIM115
    return io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _delimited(path: Path, options: TableOptions, separator: str = "") -> Iterator[Row]:
    csv.field_size_limit(sys.maxsize)
    with open_text(path) as stream:
        first = stream.readline()
        stream.seek(0)
        separator = options.separator or separator or _sniffed(first, path, options.columns)
        quoting = csv.QUOTE_MINIMAL if options.quoted else csv.QUOTE_NONE
        lines = csv.reader((line.replace("\0", "") for line in stream), delimiter=separator, quoting=quoting)
        try:
            yield from _as_rows(lines, path, separator, options.columns)
        except csv.Error as error:
            raise InputError(f"{path}, line {lines.line_num}: {error}.") from error


def _as_rows(lines: Any, path: Path, separator: str, columns: Sequence[str]) -> Iterator[Row]:
    names = [name.strip() for name in (columns or next(lines, []))]
    for cells in lines:
        if len(cells) > len(names):
            if not columns:
                raise InputError(
                    f"{path}, line {lines.line_num}: has {len(cells)} cells, but there are {len(names)} columns "
                    f"({', '.join(names[:8])}); put texts that hold {separator!r} into quotation marks."
                )
            last = len(names) - 1
            cells = [*cells[:last], separator.join(cells[last:])]
        if cells:
            yield dict(zip(names, cells, strict=False))


def _sniffed(first: str, path: Path, columns: Sequence[str]) -> str:
    """The separator of which the first line has most, outside quotation marks."""
    plain = "".join(first.split('"')[::2])
    best = max(SEPARATORS, key=plain.count)
    if not plain.count(best) and len(columns) > 1:
        raise InputError(f"{path}: no separator is in its first line, where {len(columns)} columns are expected.")
    return best


def _json_lines(path: Path, options: TableOptions) -> Iterator[Row]:
    with open_text(path) as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                yield _object(_parsed(line, f"{path}, line {number}"), f"{path}, line {number}")


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        InputError: it is no JSON.
    """
    with open_text(path) as stream:
        return _parsed(stream.read(), str(path))


def _json(path: Path, options: TableOptions) -> Iterator[Row]:
    content = read_json(path)
    if isinstance(content, dict):
        lists = {key: value for key, value in content.items() if isinstance(value, list)}
        key = options.records or (next(iter(lists)) if len(lists) == 1 else "")
        if key not in lists:
            raise InputError(f"{path} has no list '{key or 'of rows'}'; it has {', '.join(lists) or 'no lists'}.")
        content = lists[key]
    if not isinstance(content, list):
        raise InputError(f"{path} must be a JSON list of objects, or an object with such lists.")
    for number, entry in enumerate(content):
        yield _object(entry, f"{path}, entry {number}")


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{where}: is not valid JSON ({error}).") from error


def _object(value: Any, where: str) -> Row:
    if not isinstance(value, dict):
        raise InputError(f"{where}: is not an object with named values: {str(value)[:60]!r}.")
    return value


def _parquet(path: Path, options: TableOptions) -> Iterator[Row]:
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise InputError(f'{path} is Parquet, which needs pyarrow: pip install "pyarrow==25.0.1".') from error
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=64):  # hub files hold whole pictures in their rows
                yield from batch.to_pylist()
    except arrow.ArrowException as error:
        raise InputError(f"{path} is no Parquet file, or is damaged: {error}.") from error


def _excel(path: Path, options: TableOptions) -> Iterator[Row]:
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise InputError(f'{path} is Excel, which needs openpyxl: pip install "openpyxl==3.1.5".') from error
    try:
        book = load_workbook(path, read_only=True, data_only=True)
    except Exception as error:  # zip, XML and its own errors alike
        raise InputError(f"{path} is no Excel workbook, or is damaged ({type(error).__name__}).") from error
    rows = book.worksheets[0].iter_rows(values_only=True)
    names = [str(name).strip() for name in (options.columns or next(rows, ())) if name is not None]
    for cells in rows:
        if any(cell is not None for cell in cells):
            yield dict(zip(names, cells, strict=False))
    book.close()


FORMATS: dict[str, Callable[[Path, TableOptions], Iterator[Row]]] = {
    "csv": _delimited,
    "tsv": partial(_delimited, separator="\t"),
    "jsonl": _json_lines,
    "json": _json,
    "parquet": _parquet,
    "xlsx": _excel,
}
"""Format name to its reader; `formats` adds those that are no plain tables."""
