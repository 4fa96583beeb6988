"""Calibration study: captions validation images, asks how often they are right, fits what the bundle ships.

    python -m scripts.studies.calibrate --datalist DIR/datalist.json [--section validation] [--samples 5]
    python -m scripts.studies.calibrate --datalist DIR/datalist.json --captions runs/evaluate/captions.jsonl

The second form takes the captions that ``configs/evaluate.json`` just made with this bundle instead of making them
again; whether sampled captions agree is then not measured.

Plane, modality family and organ of a caption have one probability, its finding has another (``finding_study``), fitted
and judged over groups of images. Writes ``models/calibration.json`` of the bundle (not with ``--limit``), and into
``--output_dir``: ``captions.jsonl``, ``confidence.json`` (all figures), ``reliability.png``, ``risk_coverage.png``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scripts import BUNDLE
from scripts.atomic import write_text_atomically
from scripts.confidence.calibration import Calibration
from scripts.data.record_lines import read_json_lines
from scripts.errors import InputError, show_sentences
from scripts.studies.calibration_figures import fit_kind, judge, measure, write_report
from scripts.studies.finding_study import fit_findings, measure_findings, normal_written, rows_of
from scripts.studies.section_captions import counted, section_items

if TYPE_CHECKING:
    from scripts.concepts.similar_cases import SimilarCase
    from scripts.predictor import Caption, CaptionPredictor


Made = tuple[list[dict[str, Any]], "CaptionPredictor"]
_TOGETHER = 16  # images a batch


def caption_items(bundle_root: Path, items: Sequence[dict[str, Any]], values: dict[str, Any]) -> Made:
    """Records of the items' images, made with the bundle's own settings, and what made them.

    Raises:
        InputError: an image cannot be read.
    """
    from scripts.predictor import CaptionPredictor

    values = {"calibration": "", "abstain_below": 0.0, "findings": "always", "anything": True, **values}
    predictor = CaptionPredictor.from_bundle(bundle_root, **values)
    captions = predictor.caption_all([item["image"] for item in items], batch_size=_TOGETHER)
    return counted(map(_record, captions), len(items)), predictor


def _record(caption: Caption | InputError) -> Mapping[str, Any]:
    if isinstance(caption, InputError):
        raise caption
    return caption.record


def made_before(bundle_root: Path, items: Sequence[dict[str, Any]], captions: Path) -> Made:
    """Records of the items' images from a file, with the weights and settings that the bundle has now.

    Raises:
        InputError: the file cannot be read, or lacks an item's caption, its findings or its tokens' log-probabilities.
    """
    from scripts.predictor import CaptionPredictor

    try:
        lines = read_json_lines(captions)
        by_image = {str(line["image"]): line for line in lines if line["token_logprobs"] and "findings" in line}
    except (KeyError, TypeError) as error:
        raise InputError(f"{captions} cannot be read as captions ({error}): give a captions.jsonl") from None
    absent = [str(item["image"]) for item in items if str(item["image"]) not in by_image]
    if absent:
        raise InputError(f"{captions} has no caption of {absent[0]}: caption this very section first")
    predictor = CaptionPredictor.from_bundle(bundle_root, calibration="")
    return [{**by_image[str(item["image"])], **predictor.provenance} for item in items], predictor


def near_by_image(predictor: CaptionPredictor, items: Sequence[dict[str, Any]]) -> list[list[SimilarCase]] | None:
    """The cases nearest to each item where the index holds all other items, too; None without an index."""
    from scripts.studies.with_archive import archive_of

    found = archive_of(predictor, items)
    if found is None:
        return None
    archive, tokens = found
    return [archive.without(number).nearest(tokens[number : number + 1])[0] for number in range(len(items))]


def read_items(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Captioned items of the section, the first ``--limit`` of a seeded order."""
    items = [item for item in section_items(options) if item.get("caption")]
    if options.limit:
        order = np.random.default_rng(0).permutation(len(items))[: options.limit]
        items = [items[index] for index in sorted(order)]
    if len(items) < 20:
        raise InputError(
            f"{options.datalist} has {len(items)} captioned images in {options.section!r}: give 20 or more"
        )
    return items


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study that the command line describes."""
    parser = argparse.ArgumentParser(prog="python -m scripts.studies.calibrate", description=__doc__.splitlines()[0])
    parser.add_argument("--datalist", type=Path, required=True, help="images with captions")
    parser.add_argument("--dataset_dir", type=Path, help="folder of the images (default: of the datalist)")
    parser.add_argument("--section", default="validation", help="of the datalist (default %(default)s)")
    parser.add_argument("--bundle_root", type=Path, default=BUNDLE, help="the bundle's folder")
    parser.add_argument(
        "--output_dir", type=Path, default=Path("runs/confidence"), help="of all results (default %(default)s)"
    )
    parser.add_argument("--captions", type=Path, help="captions.jsonl of configs/evaluate.json: not made again")
    parser.add_argument("--samples", type=int, default=5, help="captions drawn for each image; 0 skips agreement")
    parser.add_argument("--limit", type=int, default=0, help="a check on this many images; stores no calibration")
    parser.add_argument("--amp_dtype", default="", help="another precision than the config's")
    options = parser.parse_args(arguments)
    show_sentences()
    items = read_items(options)
    if options.captions:
        records, predictor = made_before(options.bundle_root, items, options.captions)
    else:
        precision = {"amp_dtype": options.amp_dtype} if options.amp_dtype else {}
        values = {"agreement_samples": options.samples, **precision}
        records, predictor = caption_items(options.bundle_root, items, values)
    right = judge(records, items)
    splits = {"group": rows_of(records, items)}
    if (near := near_by_image(predictor, items)) is not None:
        splits["image"] = rows_of(records, items, near)
    study = measure(records, right, splits["group"].groups) | measure_findings(splits) | normal_written(records, items)
    options.output_dir.mkdir(parents=True, exist_ok=True)
    write_report(study, records, options.output_dir)
    calibration = Calibration(
        fit_kind(records, right),
        fit_findings(splits),
        weights=records[0]["weights"],
        generation=records[0]["trace"].get("generation", {}),
        images=len(records),
        abstain_below=study["least_confidence"],
        figures={key: value for key, value in study.items() if isinstance(value, int | float)},
    )
    name = "calibration.json"
    where = options.output_dir / name if options.limit else options.bundle_root / "models" / name
    write_text_atomically(where, calibration.to_json())
    for key, value in calibration.figures.items():
        print(f"{key:42} {value:.3f}" if isinstance(value, float) else f"{key:42} {value}")
    print(f"calibration: {where}; report: {options.output_dir / 'confidence.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
