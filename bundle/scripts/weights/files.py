"""The weight files of a model: a folder or hub model, in one file or in shards that an index lists."""

from __future__ import annotations

import json
from pathlib import Path

from scripts.errors import WeightsError

_WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


def model_files(source: str | Path, *, kind: str = "model") -> list[Path]:
    """The weight files of a model folder or of a hub model (from its cache when offline).

    Args:
        source: folder or hub name.
        kind: of model, for messages.

    Raises:
        WeightsError: there is no such model within reach, its index is damaged, or a shard is absent.
    """
    for name in _WEIGHT_FILES:
        found = find_file(source, name)
        if found is None:
            continue
        if not name.endswith(".index.json"):
            return [found]
        shards = _shards(found)
        files = [find_file(source, shard) for shard in shards]
        if None in files:
            raise WeightsError(f"{source} lacks its weight file {shards[files.index(None)]}: copy all of its files")
        return files
    raise WeightsError(
        f"{source} is neither a weight file, nor a folder that holds {_WEIGHT_FILES[0]}, nor a hub model that can be "
        f"reached from here: give the path of a downloaded {kind}"
    )


def find_file(source: str | Path, name: str) -> Path | None:
    """A file of a model folder or hub model; None where there is none."""
    folder = Path(source)
    if folder.is_dir():
        return folder / name if (folder / name).is_file() else None
    from transformers.utils import cached_file

    try:
        found = cached_file(str(source), name, _raise_exceptions_for_missing_entries=False)
    except (OSError, ValueError):
        return None
    return Path(found) if found else None


def _shards(index: Path) -> list[str]:
    """File names in an index; each lies beside it, so that a made-up index cannot name a file elsewhere."""
    try:
        shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        sound = bool(shards) and all(Path(shard).name == shard for shard in shards)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        sound = False
    if not sound:
        raise WeightsError(f"the index {index} is damaged: fetch it again")
    return shards
