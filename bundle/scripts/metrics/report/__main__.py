"""Command line of the report: evaluation and captions in, one HTML page and one Markdown file out."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.errors import InputError
from scripts.metrics.evaluate_files import DEFAULT_CACHE, baseline_captions, training_items
from scripts.metrics.pairs import match, read_items
from scripts.metrics.protocols import protocol
from scripts.metrics.report.cases import Case, build_cases
from scripts.metrics.report.content import Section, sections, strongest_baseline
from scripts.metrics.report.gallery import choose
from scripts.metrics.report.markdown import as_markdown
from scripts.metrics.report.page import as_html, gallery_html
from scripts.metrics.report.pngs import thumbnail
from scripts.metrics.report.trust import confidence_section, faithfulness_section


def _read_json(path: str | Path, what: str) -> dict[str, Any]:
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; {what}")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not JSON ({error.msg} at line {error.lineno}); {what}") from None


def load_cases(
    evaluation: Mapping[str, Any],
    captions: str | Path,
    datalist: str | Path,
    folder: Path,
    cache_dir: str | Path = DEFAULT_CACHE,
) -> list[Case]:
    """One case an image of the split that was evaluated, with the caption of the strongest baseline."""
    items = read_items(datalist, evaluation.get("split"))
    pairs = match(read_items(captions), items, allow_missing=bool(evaluation.get("missing")), source=str(captions))
    training = training_items(datalist)
    rival = strongest_baseline(evaluation)
    made = baseline_captions(training, pairs.images, folder, cache_dir)[0] if rival else {}
    baselines = {name: texts for name, texts in made.items() if name == rival}
    return build_cases(pairs, protocol(evaluation["protocol"]), baselines, [item.captions[0] for item in training])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.metrics.report", description=__doc__.splitlines()[0])
    parser.add_argument("--evaluation", required=True, help="what `python -m scripts.metrics --json` wrote")
    parser.add_argument("--captions", required=True, help="the predictions that were evaluated")
    parser.add_argument("--datalist", required=True, help="the references that were evaluated")
    parser.add_argument("--curves", help='JSON {"loss/training": [..], "CIDEr-D": [[epoch, value], ..]}')
    parser.add_argument(
        "--confidence", help="confidence.json of `python -m scripts.studies.calibrate`: calibration and risk"
    )
    parser.add_argument("--faithfulness", help="faithfulness.json of `python -m scripts.studies.faithfulness`")
    parser.add_argument("--images", help="folder of the pictures (default: beside the datalist)")
    parser.add_argument("--cache-dir", default=str(DEFAULT_CACHE), help="where pooled image features are kept")
    parser.add_argument("--no-images", action="store_true", help="no pictures and no captions of the data set")
    parser.add_argument("--title", default="Caption report", help="heading of the page")
    parser.add_argument("--html", default="report.html", help="page to write (default %(default)s)")
    parser.add_argument("--markdown", help="Markdown to write as well")
    return parser


def _trust(given: argparse.Namespace) -> list[Section]:
    """The sections that other studies feed, of those that were given."""
    made = []
    if given.confidence:
        made.append(
            confidence_section(_read_json(given.confidence, "make it with `python -m scripts.studies.calibrate`"))
        )
    if given.faithfulness:
        command = "make it with `python -m scripts.studies.faithfulness`"
        made.append(faithfulness_section(_read_json(given.faithfulness, command)))
    return made


def write_report(given: argparse.Namespace) -> list[Path]:
    """Write the report; returns the files.

    Raises:
        InputError: a file cannot be used.
    """
    evaluation = _read_json(given.evaluation, "make it with `python -m scripts.metrics ... --json FILE`")
    if "systems" not in evaluation:
        raise InputError(f"{given.evaluation}: no evaluation; make it with `python -m scripts.metrics ... --json FILE`")
    history = _read_json(given.curves, "give the training curves as name to numbers") if given.curves else None
    folder = Path(given.images) if given.images else Path(given.datalist).parent
    cases = load_cases(evaluation, given.captions, given.datalist, folder, given.cache_dir)
    parts = [*sections(evaluation, cases, history), *_trust(given)]
    gallery = "" if given.no_images else gallery_html(choose(cases), lambda image: thumbnail(folder / image))
    page = Path(given.html)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(as_html(given.title, evaluation, cases, parts, gallery), encoding="utf-8")
    written = [page]
    if given.markdown:
        written.append(Path(given.markdown))
        text = as_markdown(given.title, evaluation, cases, parts, page.name)
        written[-1].write_text(text, encoding="utf-8")
    return written


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    try:
        written = write_report(_parser().parse_args(arguments))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(str(path) for path in written))
    return 0


if __name__ == "__main__":
    sys.exit(main())
