"""Where a caption comes from: model version, hashes of all weights, settings, package versions."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .weights.loading import weights_sha256
from .weights.starter import PARTS

__all__ = ["provenance"]

_PACKAGES = ("torch", "monai", "transformers", "pydicom")


def _frozen_sha256(part: str, source: str) -> dict[str, str]:
    """Name and hash of one frozen part: a pinned starter file, a local file, or just the hub name."""
    if source == "starter":
        member = PARTS[part].members[0]
        return {member.name: member.sha256}
    if Path(source).is_file():
        return weights_sha256(source)
    return {source: ""}


def provenance(
    bundle_root: str | Path,
    weights: str | Path,
    frozen: Mapping[str, str],
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The part of a caption's record that is the same for a whole run.

    Args:
        bundle_root: folder with ``configs/metadata.json``.
        weights: trained checkpoint.
        frozen: ``general_encoder``, ``detail_encoder``, ``language_model`` to where each was taken from: ``starter``,
            a file, or a hub name (whose hash is left empty).
        settings: of the run: precision, decoding, seed.

    Returns:
        ``model_version``, ``weights`` (name and SHA-256 of each file), and ``trace`` with settings and package
        versions. No time, host or user: equal runs give equal files.
    """
    metadata = json.loads((Path(bundle_root) / "configs" / "metadata.json").read_text(encoding="utf-8"))
    hashes = weights_sha256(weights)
    for part, source in frozen.items():
        hashes.update(_frozen_sha256(part, str(source)))
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {
        "model_version": metadata["version"],
        "weights": hashes,
        "trace": {"settings": dict(settings or {}), "versions": versions},
    }
