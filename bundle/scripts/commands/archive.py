"""Many images on many workers, with Ray Data (an optional package): build feature caches, caption an archive.

    python -m scripts.commands.archive features configs/train.json --dataset_dir DIR --workers 8
    python -m scripts.commands.archive caption PATH --output_dir OUT --workers 8

Both go on where a stopped or killed run was: cached features and finished captions are not made again; images that
failed are tried once more in each run. A Ray cluster is joined where ``RAY_ADDRESS`` names one, else workers start on
this machine. Values of a config follow as ``--set name=value``. Install with ``pip install "ray[data]==2.60.0"``.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from scripts.atomic import write_atomically
from scripts.data.datalist import inference_items
from scripts.data.record_lines import each_line, json_line
from scripts.errors import InputError, show_sentences
from scripts.given_values import typed_settings
from scripts.provenance.archive_origin import check_origin, made_with

Row = dict[str, Any]


class FeatureWorker:
    """Computes what is missing of the feature cache that a training config names; one actor of the pool.

    As in training, cases of the section ``training`` go through ``train#preprocessing``, ``augmented_views`` times, and
    all others through ``validate#preprocessing``.
    """

    def __init__(self, files: Sequence[str], values: Mapping[str, Any]) -> None:
        from scripts.data import feature_caches
        from scripts.kernels.precision import set_float32_precision

        get = _parser(files, values).get_parsed_content
        set_float32_precision(get("float32_precision"))  # part of the cache's key, as in training
        encoders = {name: encoder.to(get("device")) for name, encoder in get("cached_encoders").items()}
        options = replace(get("token_cache"), encoders=encoders, workers=0, skip_failed=True, progress=False)
        varied = replace(options, augmented_views=get("augmented_views"), seed=get("seed"))
        self.training = feature_caches(varied, get("train#preprocessing"))
        self.plain = feature_caches(options, get("validate#preprocessing"))

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        """JSON texts of ``{"section", "item"}`` in, counts and failures out; the features go to disk.

        A case counts as cached where every encoder's tokens of it were there.
        """
        cases = [json.loads(text) for text in batch["item"]]
        counts, failed = {"cached": 0, "encoded": 0}, {}
        for caches, trained in ((self.training, True), (self.plain, False)):
            items = [case["item"] for case in cases if (case["section"] == "training") == trained]
            reports = [cache.build(items, part=(0, 1)) for cache in caches]
            counts["cached"] += min(report.cached for report in reports)
            counts["encoded"] += max(report.encoded for report in reports)
            failed |= {name: (name, reason) for report in reports for name, reason in report.failed}
        return {**{key: [count] for key, count in counts.items()}, "failed": [json.dumps(list(failed.values()))]}


class CaptionWorker:
    """Captions cases and appends them to a file of its own; one actor of the pool."""

    def __init__(self, bundle_root: str, values: Mapping[str, Any], folder: str) -> None:
        from scripts.predictor import CaptionPredictor

        self.predictor = CaptionPredictor.from_bundle(bundle_root, **values)
        self.file = Path(folder) / f"{time.time_ns():020d}-{secrets.token_hex(4)}.jsonl"  # later runs sort last

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        """JSON texts of cases in, one row with counts out."""
        records = [self._record(json.loads(text)) for text in batch["item"]]
        with self.file.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
            file.flush()
            os.fsync(file.fileno())
        return {"captioned": [len(records)], "failed": [sum(bool(record.get("error")) for record in records)]}

    def _record(self, item: Row) -> Row:
        try:
            return dict(self.predictor.caption(item["image"]).record)
        except (InputError, OSError) as error:  # a damaged file, or a share that does not answer
            return {"image": item["image"], "caption": None, "error": str(error)}


def build_features(
    files: Sequence[str], *, workers: int = 2, values: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Build the feature cache of a training config on ``workers`` processes; returns counts and failures.

    Args:
        files: config files, later ones over earlier ones.
        workers: actors; each loads the encoders once.
        values: config values, such as ``dataset_dir`` and ``feature_cache_dir``.
    """
    from scripts.data.datalist import load_datalist

    values = dict(values or {})
    parser = _parser(files, values)
    datalist, folder = (parser.get_parsed_content(key) for key in ("datalist", "dataset_dir"))
    items = [
        {"section": section, "item": item}
        for section in ("training", "validation")
        for item in load_datalist(datalist, section=section, dataset_dir=folder, require_caption=False)
    ]
    on_gpu = str(parser.get_parsed_content("device")).startswith("cuda")
    rows = _map(items, FeatureWorker, (list(files), values), workers=workers, batch=32, on_gpu=on_gpu)
    failed = [tuple(failure) for row in rows for failure in json.loads(row["failed"])]
    return {**{key: sum(int(row[key]) for row in rows) for key in ("cached", "encoded")}, "failed": failed}


def caption_archive(
    source: str | Path,
    *,
    output_dir: str | Path,
    bundle_root: str | Path = ".",
    workers: int = 2,
    values: Mapping[str, Any] | None = None,
) -> dict[str, int]:
    """Caption every case at ``source`` into ``output_dir/captions.jsonl``, in the order of the source.

    Args:
        source: what ``inference.json`` takes: a folder, or a datalist.
        output_dir: ``parts/`` in it holds what each worker finished; a run that follows leaves those cases out, and
            tries those that failed once more. ``made_with.json`` says what made the captions.
        workers: actors, each with one copy of the network.
        values: config values of ``inference.json``.

    Raises:
        InputError: ``output_dir`` holds captions that other weights or settings made.
    """
    items, values = inference_items(source), dict(values or {})
    parts = Path(output_dir) / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    done = _finished(parts)
    captioned = {name for name, record in done.items() if not record.get("error")}
    origin = made_with(_inference_parser(Path(bundle_root), values), values)
    check_origin(Path(output_dir), origin, captioned=bool(captioned))
    waiting = [item for item in items if _name(item["image"]) not in captioned]
    on_gpu = "cuda" in str(values.get("device", "")) or ("device" not in values and _has_gpu())
    if waiting:
        _map(waiting, CaptionWorker, (str(bundle_root), values, str(parts)), workers=workers, batch=8, on_gpu=on_gpu)
        done = _finished(parts)
    lines = [json_line(done[_name(item["image"])]) for item in items]
    write_atomically(Path(output_dir) / "captions.jsonl", lambda file: file.writelines(line.encode() for line in lines))
    failed = sum(bool(done[_name(item["image"])].get("error")) for item in items)
    return {"total": len(items), "captioned_now": len(waiting), "failed": failed}


def _map(
    items: Iterable[Row], worker: type, arguments: tuple[Any, ...], *, workers: int, batch: int, on_gpu: bool
) -> list[Row]:
    """Send cases, as JSON, through a pool of ``worker`` actors; Ray schedules, retries and shows progress."""
    ray = _ray()
    rows = [{"item": json.dumps(item)} for item in items]
    if not rows:
        return []
    blocks = max(workers, -(-len(rows) // batch))
    data = ray.data.from_items(rows, override_num_blocks=min(len(rows), blocks))
    data = data.map_batches(
        worker,
        fn_constructor_args=arguments,
        batch_size=batch,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_gpus=1 if on_gpu else 0,
    )
    return data.take_all()


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise InputError('this needs Ray Data: pip install "ray[data]==2.60.0".') from error
    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False, runtime_env={"env_vars": _environment()})
    return ray


def _environment() -> dict[str, str]:
    """What workers need from here: the import path of this package and offline switches."""
    kept = {key: value for key, value in os.environ.items() if key.startswith(("HF_", "MSMEDCAP_", "TOKENIZERS_"))}
    return {**kept, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _parser(files: Sequence[str], values: Mapping[str, Any]) -> Any:
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config([str(file) for file in files])
    parser.update(dict(values))
    parser.parse()
    return parser


def _inference_parser(root: Path, values: Mapping[str, Any]) -> Any:
    """The config as ``CaptionPredictor.from_bundle`` reads it in the workers."""
    config = values.get("config", "configs/inference.json")
    files = [config] if isinstance(config, str) else list(config)
    given = {name: value for name, value in values.items() if name != "config"}
    return _parser([str(root / file) for file in files], {"bundle_root": str(root), "batch_size": 1, **given})


def _finished(folder: Path) -> dict[str, Row]:
    """Records of earlier and present runs by case, a caption before an error, a later error before an earlier one.

    A line that a killed worker left half written counts as not done.
    """
    done: dict[str, Row] = {}
    for file in sorted(folder.glob("*.jsonl")):
        for _, line in each_line(file):
            try:
                record = json.loads(line)
                name = _name(record["image"])
                if name not in done or done[name].get("error"):
                    done[name] = record
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
    return done


def _name(image: str | Sequence[str]) -> str:
    return json.dumps(image if isinstance(image, str) else list(image))


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def main() -> None:
    show_sentences()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    jobs = parser.add_subparsers(dest="job", required=True, help="what the workers do")
    features = jobs.add_parser("features", help="compute and keep the encoder tokens of a datalist")
    caption = jobs.add_parser("caption", help="caption a folder, file or datalist")
    features.add_argument("config_file", nargs="+", help="training config and its overlays")
    features.add_argument("--dataset_dir", required=True, help="folder of the images")
    caption.add_argument("source", help="file, folder or datalist")
    caption.add_argument("--output_dir", required=True, help="folder of captions.jsonl")
    for job in (features, caption):
        job.add_argument("--bundle_root", default=".", help="the bundle's folder")
        job.add_argument("--workers", type=int, default=2, help="processes (default %(default)s)")
        job.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a config value")
    options = parser.parse_args()
    values = {"bundle_root": options.bundle_root, **typed_settings(options.set)}
    if options.job == "features":
        values["dataset_dir"] = options.dataset_dir
        result: Mapping[str, Any] = build_features(options.config_file, workers=options.workers, values=values)
    else:
        values.pop("bundle_root")
        places = {"output_dir": options.output_dir, "bundle_root": options.bundle_root}
        result = caption_archive(options.source, workers=options.workers, values=values, **places)
    print(json.dumps(result))
    sys.exit(1 if result["failed"] else 0)


if __name__ == "__main__":
    main()
