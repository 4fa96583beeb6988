"""Origin of a run, its cases and its settings: kept in a checkpoint and compared on resuming."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from monai.bundle import ConfigParser

from scripts.command_line import named_configs, options_of
from scripts.data.cache.key import digest
from scripts.data.datalist import image_paths
from scripts.errors import InputError

logger = logging.getLogger(__name__)
FREE = {
    "bundle_root", "dataset_dir", "datalist", "output_dir", "feature_cache_dir", "device", "workers", "epochs",
    "resume", "bare_network", "network", "val_interval", "save_every", "keep_best", "sample_captions", "mlflow",
    "compile", "pretrained", "weights", "stage", "config_file", "logging_file", "meta_file", "workflow_type",
    "tracking", "initialize", "run", "training", "caching", "finalize", "imports", "config_files",
}  # fmt: skip
"""Values that may differ between the parts of a run: where it lies, what it runs on, how long, what it starts from."""


def data_origin(dataset: Any) -> dict[str, Any] | None:
    """Number and digest of a data set's cases, wherever their folder lies; None of one without a list of cases.

    The digest is over image paths (relative to what they have in common), captions and all else that cases bring.
    """
    items = getattr(dataset, "data", None)
    if not isinstance(items, Sequence) or not items or not all(isinstance(i, dict) and "image" in i for i in items):
        return None
    paths = {path for item in items for path in image_paths(item)}
    root = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])

    def described(item: Mapping[str, Any]) -> list[Any]:
        images = [os.path.relpath(path, root) for path in image_paths(dict(item))]
        return [images, {name: str(value) for name, value in sorted(item.items()) if name != "image"}]

    return {"cases": len(items), "sha256": digest([described(item) for item in items])}


def command_line_settings(arguments: Sequence[str] = ()) -> dict[str, str]:
    """Values of ``monai.bundle run``'s config files and options, as JSON, by name; empty of any other program."""
    arguments = list(arguments or sys.argv)
    files = [file for file in named_configs(arguments) if os.path.isfile(file)]
    if not files:
        return {}
    values = dict(ConfigParser.load_config_files(files))
    values |= {name: value for name, (_, _, value) in options_of(arguments).items()}
    kept = {
        name: value for name, value in values.items() if name.partition("#")[0] not in FREE and not name.startswith("_")
    }
    return {name: _plain(value) for name, value in kept.items()}


def _plain(value: Any) -> str:
    """As JSON; a number is the same whether a file or the command line gave it."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return value
    return json.dumps(value, sort_keys=True)


def check_origin(saved: Mapping[str, Any], now: Mapping[str, Any], path: object, *, inside: bool) -> None:
    """Say what changed since a checkpoint; refuse it in the middle of an epoch, whose rest would be of another run.

    Args:
        saved, now: ``data`` (see :func:`data_origin`) and ``settings`` of the checkpoint and of this run.
        path: of the checkpoint.
        inside: whether it was written in the middle of an epoch.

    Raises:
        InputError: something differs, and the epoch has begun.
    """
    changes = _changed_data(saved.get("data"), now.get("data"))
    changes += _changed_settings(saved.get("settings") or {}, now.get("settings") or {})
    if not changes:
        return
    text = "; ".join(changes)
    if inside:
        raise InputError(
            f"checkpoint {path} is of the middle of an epoch of another run: {text}. Give what it had to end that "
            "epoch, set resume to the checkpoint of an epoch's end, or set it to '' to start afresh."
        )
    logger.warning("%s: the run goes on with changes: %s.", path, text)


def _changed_data(saved: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> list[str]:
    if not saved or not now or saved == now:
        return []
    if saved["cases"] != now["cases"]:
        return [f"its datalist had {saved['cases']} cases, this one has {now['cases']}"]
    return [f"its datalist had other cases or captions ({now['cases']} as well)"]


def _changed_settings(saved: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    if not saved or not now:
        return []
    names = sorted(name for name in {*saved, *now} if saved.get(name) != now.get(name))
    return [f"{name} was {_short(saved.get(name))}, is {_short(now.get(name))}" for name in names[:6]]


def _short(value: str | None) -> str:
    if value is None:
        return "not set"
    return value if len(value) <= 40 else f"{value[:37]}..."
