"""Captions made again from their traces, and compared to the last digit.

    python -m scripts.commands.repeat OUT/captions.jsonl [--line 3]        # or one record as a .json file

Compared exactly: hashes of all weights, how the network is built, the pixels it saw, the text, and every token's
log-probability. Ends with exit code 1 and one sentence at the first difference.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from scripts import BUNDLE
from scripts.captioning import caption_batch
from scripts.data.record_lines import read_json_lines
from scripts.errors import InputError, WeightsError, show_sentences
from scripts.given_values import typed_settings
from scripts.kernels.precision import set_float32_precision
from scripts.predictor import CaptionPredictor
from scripts.provenance.trace import same

COMPARED = (
    "caption", "written", "tokens", "token_logprobs", "token_confidence", "support", "modality", "window", "slice",
)  # fmt: skip


def read_records(path: str | Path) -> list[dict[str, Any]]:
    """Records of a ``captions.jsonl``, or the one record of a ``.json`` file.

    Raises:
        InputError: the file is absent or holds no records with traces.
    """
    path = Path(path)
    try:
        records = [json.loads(path.read_bytes())] if path.suffix == ".json" else read_json_lines(path)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as captions ({error}): give a captions.jsonl") from None
    for number, record in enumerate(records, start=1):
        if not isinstance(record, dict) or "trace" not in record:
            raise InputError(f"{path}, line {number} has no trace: give a captions.jsonl that this version wrote")
    return records


def predictor_of(record: Mapping[str, Any], bundle_root: Path, overrides: Mapping[str, Any]) -> CaptionPredictor:
    """The predictor that a trace describes, its weights and structure checked.

    Raises:
        WeightsError: a weight is another one.
        InputError: the network is built differently, or the trace lacks what is needed.
    """
    trace = record["trace"]
    if "settings" not in trace or "network" not in trace:
        raise InputError("the trace does not say how its network was built: it was written by an older version")
    settings = {key: value for key, value in trace["settings"].items() if key not in ("device", "batch_size")}
    settings.setdefault("use_header", False)  # traces from before there was the choice
    settings.setdefault("prompt_is_text", False)
    settings.setdefault("findings", "always")
    settings.setdefault("case_weight", 0.0)
    trace["sources"].setdefault("similar_cases", "")
    for key, source in trace["sources"].items():
        inside = bundle_root / source
        settings[key] = str(inside) if source and inside.exists() else source
    device = trace["settings"].get("device", "cpu")
    torch.set_num_threads(trace["threads"])
    set_float32_precision(settings.get("float32_precision", "exact"))
    predictor = CaptionPredictor.from_bundle(
        bundle_root, config=trace["config"], **{"device": f"$torch.device('{device}')", **settings, **overrides}
    )
    found, wanted = predictor.provenance["weights"], record["weights"]
    for name in same(found, wanted):
        raise WeightsError(f"weights {name} are not those of the trace ({found.get(name)}, then {wanted.get(name)})")
    if predictor.provenance["trace"]["network"] != trace["network"]:
        raise InputError(
            "the network is built differently than the trace says: give the overlays it used with --config"
        )
    return predictor


def repeat(predictor: CaptionPredictor, records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Records of one batch, made again together, in order.

    Args:
        predictor: see :func:`predictor_of`.
        records: of captioned cases that formed a batch.
    """
    from scripts.data.collate import collate_cases

    loaded = []
    for record in records:
        settings = record["trace"]["settings"]
        options = {key: settings[key] for key in ("window", "slice", "plane") if key in settings}
        loaded.append(predictor.load(record["image"], **options))
    batch = collate_cases([{"image": image} for image, _ in loaded])
    mask = batch.get("image_mask")
    prompts = [record["trace"]["prompt"] for record in records]
    made = caption_batch(
        predictor.network,
        batch["image"].to(predictor.device),
        None if mask is None else mask.to(predictor.device),
        dtype=predictor.dtype,
        prompts=prompts,
        options=predictor.options_of(records[0]["trace"]["generation"]),
        samples=predictor.samples,
        seed=predictor.seed,
        file_metas=[meta for _, meta in loaded] if predictor.use_header else [],
    )
    return [
        predictor.case(record["image"], image, meta, made, row=row, of=len(records)).record
        for row, (record, (image, meta)) in enumerate(zip(records, loaded, strict=True))
    ]


def differences(record: Mapping[str, Any], again: Mapping[str, Any]) -> list[str]:
    """What is not the same, as phrases; empty where all is."""
    if record["trace"].get("pixels") != again["trace"].get("pixels"):
        return ["the pixels: the file, or how it is read, has changed"]
    if "token_confidence" not in record:  # what older versions called the confidence
        record = {**record, "token_confidence": record.get("confidence")}
    return [
        f"{key}: {again.get(key)!r}, then {record[key]!r}"
        for key in COMPARED
        if key in record and record[key] != again.get(key)
    ]


def _batches(records: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """Line numbers (from 0) of captioned records, by the batch they were made in."""
    batches: list[list[int]] = []
    for index, record in enumerate(records):
        if record.get("error") is not None:
            continue
        if record["trace"].get("batch", {}).get("row", 0) == 0 or not batches:
            batches.append([])
        batches[-1].append(index)
    return batches


def main(arguments: Sequence[str] | None = None) -> int:
    """Repeat what the command line names; 0 where all is the same, else 1."""
    parser = argparse.ArgumentParser(prog="python -m scripts.commands.repeat", description=__doc__.splitlines()[0])
    parser.add_argument("trace", type=Path, help="captions.jsonl, or one record as .json")
    parser.add_argument("--line", type=int, default=0, help="only this line, counted from 1")
    parser.add_argument("--bundle_root", type=Path, default=BUNDLE, help="the bundle's folder")
    parser.add_argument("--config", action="append", default=[], help="another overlay, relative to the bundle")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a config value, such as weights"
    )
    options = parser.parse_args(arguments)
    show_sentences()
    records = read_records(options.trace)
    if not 0 <= options.line <= len(records):
        raise InputError(f"{options.trace} has {len(records)} lines: --line is one of them, not {options.line}")
    chosen = [batch for batch in _batches(records) if not options.line or options.line - 1 in batch]
    if not chosen:
        raise InputError(f"{options.trace}: there is no caption to repeat" + (" in this line" if options.line else ""))
    first = records[chosen[0][0]]
    first["trace"]["config"] += options.config
    overrides = typed_settings(options.set)
    predictor = predictor_of(first, options.bundle_root, overrides)
    return _repeat_all(predictor, records, chosen, options.line)


def _repeat_all(predictor: CaptionPredictor, records: list[dict], batches: list[list[int]], line: int) -> int:
    count = 0
    for batch in batches:
        of = records[batch[0]]["trace"].get("batch", {}).get("of", 1)
        if of != len(batch):
            print(f"note: made in a batch of {of}, of which {len(batch)} are here: the last digits may differ")
        again = repeat(predictor, [records[index] for index in batch])
        for index, made in zip(batch, again, strict=True):
            if line and index != line - 1:
                continue
            found = differences(records[index], made)
            if found:
                print(f"error: line {index + 1}, {records[index]['image']}: differs in {found[0]}", file=sys.stderr)
                return 1
            count += 1
    print(f"{count} of {count} captions are the same, to the last digit")
    return 0


if __name__ == "__main__":
    sys.exit(main())
