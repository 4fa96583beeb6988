"""Captions of a section's images in a file, as rows of a table of scores take them."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from scripts.atomic import write_text_atomically
from scripts.data.datalist import load_datalist
from scripts.data.record_lines import json_line


def section_parser(name: str, about: str) -> argparse.ArgumentParser:
    """Options of every study of this kind."""
    parser = argparse.ArgumentParser(prog=f"python -m scripts.studies.{name}", description=about.splitlines()[0])
    parser.add_argument("--datalist", type=Path, required=True, help="images with captions")
    parser.add_argument("--dataset_dir", type=Path, help="folder of the images (default: of the datalist)")
    parser.add_argument("--section", default="validation", help="of the datalist (default %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("runs") / name / "captions.jsonl", help="file to write")
    return parser


def section_items(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Items of the section that the options name."""
    folder = options.dataset_dir or options.datalist.parent
    return load_datalist(options.datalist, section=options.section, dataset_dir=folder)


def counted(records: Iterable[Mapping[str, Any]], count: int) -> list[dict[str, Any]]:
    """All records of ``count`` images; says how far it is as they come."""
    made = []
    for record in records:
        made.append(dict(record))
        print(f"\r{len(made)} of {count} captioned", end="", flush=True)
    print()
    return made


def write_captions(records: Iterable[Mapping[str, Any]], count: int, output: Path) -> None:
    """Write the records of ``count`` images as they are made."""
    lines = [json_line(record) for record in counted(records, count)]
    output.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomically(output, "".join(lines))
    print(output)
