"""Identity of a captioning run: digests of all that its records depend on, so that only the same run goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scripts.data.cache.code_hash import code_sha256
from scripts.data.cache.key import case_key, describe, digest
from scripts.errors import InputError


def run_identity(
    loader: Any, *, inferer: Any, provenance: Mapping[str, Any], outputs: Mapping[str, Any], rule: Any
) -> dict[str, str]:
    """What a run is, part by part.

    Args:
        loader: data loader over a data set with ``data`` and ``transform``.
        inferer: captions a batch.
        provenance: weights, settings, versions.
        outputs: options of each output, by its name.
        rule: judges the captions.

    Returns:
        ``images`` (their order, sizes and times of change), ``weights``, ``settings``, ``outputs`` and ``program`` with
        their digests.
    """
    dataset, known = loader.dataset, dict(provenance)
    weights = known.pop("weights", None)
    return {
        "images": digest([_case(item) for item in dataset.data]),
        "weights": digest(weights),
        "settings": digest([describe(part) for part in (known, dataset.transform, inferer, loader.batch_size)]),
        "outputs": digest([list(outputs), describe(outputs), describe(rule)]),
        "program": digest([code_sha256(type(part).__module__) for part in (inferer, dataset)]),
    }


def _case(item: Mapping[str, Any]) -> Sequence[Any]:
    """A case as it lies on the disk; one whose file is absent as it was asked for."""
    try:
        return [item["image"], case_key(dict(item))]
    except InputError:
        return [item["image"], None]
