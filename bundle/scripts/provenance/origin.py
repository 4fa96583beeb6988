"""Origin of a caption: model version, hashes of all weights, settings, package versions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.provenance.trace import environment, network_trace, relative_source
from scripts.weights.loading import weights_sha256
from scripts.weights.starter import PARTS

if TYPE_CHECKING:
    from scripts.networks.caption_network import CaptionNetwork

# where a config names the source of each frozen part
_KEYS = {
    "general_encoder": "general_encoder_weights",
    "detail_encoder": "detail_encoder_weights",
    "language_model": "language_model_name",
}


def frozen_sha256(part: str, source: str) -> dict[str, str]:
    """Name and hash of one frozen part: a pinned starter file, a local file or folder, or just the hub name."""
    if source == "starter":
        member = PARTS[part].members[0]
        return {member.name: member.sha256}
    if Path(source).is_file():
        return weights_sha256(source)
    if Path(source).is_dir():
        files = [file for file in sorted(Path(source).iterdir()) if file.suffix in (".safetensors", ".bin", ".pt")]
        return {f"{Path(source).name}/{file.name}": next(iter(weights_sha256(file).values())) for file in files}
    return {source: ""}


def all_weights(weights: str | Path, frozen: Mapping[str, str]) -> dict[str, str]:
    """Name and hash of every weight file of a run; see :func:`provenance`."""
    hashes = weights_sha256(weights)
    for part, source in frozen.items():
        if str(source):  # else a part that this run does without
            hashes.update(frozen_sha256(part, str(source)))
    return hashes


def provenance(
    bundle_root: str | Path,
    weights: str | Path,
    frozen: Mapping[str, str],
    settings: Mapping[str, Any] | None = None,
    *,
    config_files: Sequence[str] = ("configs/inference.json",),
    network: CaptionNetwork | None = None,
    familiarity: str | Path = "",
) -> dict[str, Any]:
    """The part of a caption's record that is the same for a whole run.

    Args:
        bundle_root: folder with ``configs/metadata.json``.
        weights: trained checkpoint.
        frozen: ``general_encoder``, ``detail_encoder``, ``language_model``, ``concept_reader`` to where each was taken
            from: ``starter``, a file, a folder, a hub name (whose hash is left empty), or ``""`` for none.
        settings: of the run, by the config values' own names, so that they can be given again.
        config_files: the config and its overlays, relative to the bundle.
        network: adds how it is built, its prompt and its generation options.
        familiarity: file by which images are withheld; it changes no caption, so it is a source but no weights.

    Returns:
        ``model_version``, ``weights`` (name and SHA-256 of each file), and ``trace``: ``config``, ``settings``,
        ``sources``, the network's part, and the environment. No time, host or user: equal runs give equal files.
    """
    metadata = json.loads((Path(bundle_root) / "configs" / "metadata.json").read_text(encoding="utf-8"))
    sources = {"weights": relative_source(weights, bundle_root)}
    used = {_KEYS.get(part, part): source for part, source in frozen.items() if str(source)}
    sources |= {part: relative_source(source, bundle_root) for part, source in used.items()}
    if str(familiarity):
        sources["familiarity"] = relative_source(familiarity, bundle_root)
    trace = {"config": list(config_files), "settings": dict(settings or {}), "sources": sources}
    if network is not None:
        trace.update(network_trace(network))
    hashes = all_weights(weights, frozen)
    return {"model_version": metadata["version"], "weights": hashes, "trace": {**trace, **environment()}}
