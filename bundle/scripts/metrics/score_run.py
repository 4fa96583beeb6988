"""Last step of ``configs/evaluate.json``: scores the captions that a run wrote, prints the table, keeps it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.errors import InputError
from scripts.metrics.evaluate_files import Options, evaluate
from scripts.metrics.submission import write_submission
from scripts.metrics.tables import as_markdown, as_text


def score(
    output_dir: str | Path,
    *,
    datalist: str | Path,
    dataset_dir: str | Path,
    section: str = "validation",
    baselines: bool = True,
    also: Mapping[str, str | Path] | None = None,
) -> dict[str, Any]:
    """Score ``output_dir/captions.jsonl`` against a section of a datalist.

    Args:
        output_dir: holds ``captions.jsonl``; ``evaluation.json``, ``evaluation.md`` and ``submission.csv`` (ImageCLEF's
            form) are written beside it.
        datalist: references.
        dataset_dir: folder of the images, for 1-nearest-neighbour retrieval.
        section: of the datalist.
        also: names of other systems to the files of their captions, for the same table.
        baselines: also score the commonest caption and 1-nearest-neighbour retrieval.

    Raises:
        InputError: captions and references do not match.
    """
    folder = Path(output_dir)
    options = Options(split=section, baselines=baselines, images=dataset_dir, also=also or {})
    result = evaluate(folder / "captions.jsonl", datalist, options)
    (folder / "evaluation.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    (folder / "evaluation.md").write_text(as_markdown(result), encoding="utf-8")
    _write_submission(folder)
    print(as_text(result))
    return result


def _write_submission(folder: Path) -> None:
    """ImageCLEF's file; a data set whose file names are no IDs, since they repeat, has none."""
    try:
        write_submission(folder / "captions.jsonl", folder / "submission.csv")
    except InputError as error:
        print(f"no submission.csv: {error}")
