"""Make, check and look at datalists.

    python -m scripts.commands.datalist NAME --source DIR --output datalist.json
    python -m scripts.commands.datalist join FOLDER FOLDER ... --output datalist.json
    python -m scripts.commands.datalist list
    python -m scripts.commands.datalist check FILE
    python -m scripts.commands.datalist look FILE --output FOLDER
    python -m scripts.commands.datalist leaks FILE [--against OTHER]

NAME is a public data set (``list`` names them), ``table``, ``datalist``, ``folder``, ``r2gen``, or a layout of your own
(``my_set.json``). Nothing is downloaded: DIR is the folder that holds the set.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.data.builders import (
    GENERIC,
    BuildOptions,
    BuildReport,
    CaseOptions,
    Layout,
    NamedColumns,
    build_datalist,
    generic_layout,
    layout_names,
    load_layout,
)
from scripts.data.builders.splits import CROSSING
from scripts.data.builders.table_files import TableOptions
from scripts.errors import InputError

if TYPE_CHECKING:
    from scripts.data.leaks import Excluder


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code: 1 where too many files are missing or leaks were found, 2 for an error."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    jobs = {"join": _join, "list": _list, "check": _check, "look": _look, "leaks": _leaks}
    try:
        if words and words[0] in jobs:
            return jobs[words[0]](words[1:])
        return _build(words)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _build(words: Sequence[str]) -> int:
    given = _build_parser().parse_args(words)
    name: str | Layout = given.name
    if given.name in GENERIC:
        name = generic_layout(given.name, Path(given.source).resolve(), _columns(given))
    report = build_datalist(name, given.source, given.output, _build_options(given), _excluder(given))
    if report.missing:
        listed = Path(f"{given.output}.missing.txt")
        listed.write_text("\n".join(report.missing) + "\n", encoding="utf-8")
    if not given.quiet:
        print(_told(report, given.output))
    if report.failed:
        print(
            f"error: {report.missing_share:.0%} of the image files are missing, above --max-missing "
            f"{given.max_missing:g}; {given.output}.missing.txt names them.",
            file=sys.stderr,
        )
    return int(report.failed)


def _excluder(given: argparse.Namespace) -> Excluder | None:
    """What leaves out the entries of ``--exclude``; None where nothing is to be left out."""
    if not given.exclude:
        return None
    from scripts.data.leaks import Excluder

    return Excluder(given.exclude, progress=not given.quiet)


def _join(words: Sequence[str]) -> int:
    """Join the datalists of several folders."""
    from scripts.concepts.described import Describer
    from scripts.data.builders.join import join_datalists

    parser = argparse.ArgumentParser(
        prog="python -m scripts.commands.datalist join",
        description="Joins the datalists of folders into one. Folders without a validation section are for training "
        "only; training images that another folder holds out are left out; entries that know fields or answers "
        "instead of a caption get one.",
    )
    add = parser.add_argument
    add("folders", nargs="+", metavar="FOLDER", help="with a datalist.json or .jsonl, or such a file")
    add("--output", required=True, metavar="FILE", help="the datalist; its dataset_dir is the folder above all folders")
    add("--wording", default="varied", choices=("varied", "all", "mould"), help=_WORDING)
    add("--patient-findings", default="drop", choices=("drop", "keep"), help=_PATIENT_FINDINGS)
    add("--drop", action="append", default=[], metavar="KEY", help="leave out entries of which KEY is true")
    add("--exclude", action="append", default=[], metavar="DATALIST", help="leave out images that are in this datalist")
    add("--quiet", action="store_true", help="no counts of what was read")
    given = parser.parse_args(words)
    report = join_datalists(
        given.folders,
        given.output,
        describe=Describer(given.wording, given.patient_findings == "keep"),
        drop=given.drop,
        leave_out=_excluder(given),
        progress=not given.quiet,
    )
    if not given.quiet:
        print(_told(report, given.output))
    return 0


_WORDING = (
    "of composed captions: varied, in several templates; all, those of folders with a validation section, too; mould, "
    "in one (default %(default)s)"
)
_PATIENT_FINDINGS = (
    "findings that all entries of a source share, or that end in (patient), are not said unless kept "
    "(default %(default)s)"
)


def _told(report: BuildReport, output: str) -> str:
    """The report for a terminal."""
    lines = [f"{output}: " + ", ".join(f"{count:,} {name}" for name, count in report.sections.items())]
    lines.append(f"split: {report.split}")
    lines += [f"{count:>9,} {name}" for name, count in report.counts.items()]
    lines += [f"note: {note}" for note in report.notes]
    return "\n".join(lines)


def _build_options(given: argparse.Namespace) -> BuildOptions:
    case = CaseOptions(**{field.name: getattr(given, field.name) for field in fields(CaseOptions)})
    return BuildOptions(case, **{f.name: getattr(given, f.name) for f in fields(BuildOptions) if f.name != "case"})


def _columns(given: argparse.Namespace) -> NamedColumns:
    names = ("table", "image", "caption", "group", "split", "licence", "modality")
    values = {name: getattr(given, name if name == "table" else f"{name}_column") for name in names}
    read = TableOptions(
        format=given.format,
        columns=given.columns.split(",") if given.columns else (),
        separator=given.separator.replace("\\t", "\t"),
        quoted=not given.no_quotes,
    )
    return NamedColumns(**values, options=read)


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.commands.datalist",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", help="a set, table, datalist, folder, r2gen, or a layout's .json")
    parser.add_argument("--source", required=True, metavar="DIR", help="folder of the set; paths become relative to it")
    parser.add_argument("--output", required=True, metavar="FILE", help=".json, or .jsonl for very many entries")
    add = parser.add_argument
    add("--variant", default="", help="of a set that comes in several forms (default: the one that is there)")
    add("--section", default="", choices=("findings", "impression", "both"), help="of reports")
    add("--views", default="", choices=("frontal", "all", "case"), help="each frontal image, each image, or each case")
    add("--language", default="", help="of captions, such as en or es")
    add("--marks", default="keep", choices=("keep", "drop"), help="of de-identification, such as XXXX and ___")
    add("--min-words", type=int, help="captions with fewer words are left out")
    add("--licence", default="any", choices=("any", "commercial"), help="images whose licence allows that")
    add("--text", default="composed", choices=("composed", "questions"), help="of question sets")
    add("--slices", default="8", help="views of a volume: a number, informative:N, middle, ... (default %(default)s)")
    add("--validation", type=float, help="share of entries, where the set has no validation (default 0.1)")
    add("--test", type=float, help="share of entries, where the set has no split (default 0.1)")
    add("--seed", type=int, default=0, help="of the parts that are drawn")
    add("--crossing", default="refuse", choices=CROSSING, help="groups on two sides of an official split")
    add("--max-missing", type=float, default=0.05, help="share of missing image files that still is no failure")
    add("--exclude", action="append", default=[], metavar="DATALIST", help="leave out images that are in this datalist")
    add("--quiet", action="store_true", help="no counts of what was read")
    own = parser.add_argument_group("tables and datalists of your own")
    own.add_argument("--table", default="", help="file below DIR (default: the only one)")
    own.add_argument("--image-column", default="", help="column, or a template such as images/{ID}.png")
    own.add_argument("--caption-column", default="", help="column or template")
    own.add_argument("--group-column", default="", help="column or template: patient, study or article")
    own.add_argument("--group-pattern", default="", help="regular expression: its first group in the path is the group")
    own.add_argument("--split-column", default="", help="column that says training, validation or test")
    own.add_argument("--licence-column", default="", help="column that --licence looks at")
    own.add_argument("--modality-column", default="", help="column that is kept as modality")
    own.add_argument("--format", default="", help="csv, tsv, jsonl, json, parquet or xlsx (default: by the name)")
    own.add_argument("--columns", default="", help="names of a table without a header line, with commas between")
    own.add_argument("--separator", default="", help="between cells (default: found)")
    own.add_argument("--no-quotes", action="store_true", help="quotation marks are part of the text")
    return parser


def _list(words: Sequence[str]) -> int:
    """Print the sets, with their licences and how to get them."""
    for name in layout_names():
        variants = load_layout(name)
        first = variants[0]
        forms = ", ".join(v.variant for v in variants if v.variant)
        print(f"{name:<20}{first.title}{f' ({forms})' if forms else ''}\n{'':<20}{first.licence}; {first.access}")
    print(f"{'table, datalist':<20}any table or datalist; columns are named or found")
    return 0


def _reading_parser(job: str, description: str) -> argparse.ArgumentParser:
    """The options of every job that reads a datalist."""
    parser = argparse.ArgumentParser(prog=f"python -m scripts.commands.datalist {job}", description=description)
    parser.add_argument("file", help="the datalist")
    parser.add_argument("--dataset_dir", help="folder of the images (default: of the file)")
    return parser


def _check(words: Sequence[str]) -> int:
    """Check a datalist: every entry, every file, no group on two sides."""
    from scripts.data.check import check_datalist

    given = _reading_parser("check", "Checks every entry and image of a datalist.").parse_args(words)
    result = check_datalist(given.file, given.dataset_dir or Path(given.file).parent)
    print(result.text)
    return int(bool(result.problems))


def _look(words: Sequence[str]) -> int:
    """Write a page and a picture of a datalist."""
    from scripts.data.look import look

    parser = _reading_parser("look", "Shows what is in a datalist, on one page.")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="look.html, look.png and look.json go here")
    parser.add_argument("--images", type=int, default=500, help="so many drawn images are opened; 0 opens all")
    given = parser.parse_args(words)
    print(look(given.file, given.output, dataset_dir=given.dataset_dir, images=given.images))
    return 0


def _leaks(words: Sequence[str]) -> int:
    """Report duplicates across the sections of a datalist, or between two."""
    from scripts.data.leaks import leak_report

    parser = _reading_parser("leaks", "Finds images that stand in two sections, or in two datalists.")
    parser.add_argument("--against", help="another datalist; otherwise the file's own sections are compared")
    parser.add_argument("--json", help="write all pairs here")
    given = parser.parse_args(words)
    report = leak_report(given.file, dataset_dir=given.dataset_dir, against=given.against, json_file=given.json)
    print(report.text)
    return int(bool(report.pairs))


if __name__ == "__main__":
    sys.exit(main())
