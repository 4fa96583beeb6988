"""Origin of an archive's captions, kept beside them and compared before a run goes on."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.atomic import write_text_atomically
from scripts.errors import InputError, WeightsError, user_cause
from scripts.provenance.origin import frozen_sha256

FILE = "made_with.json"
# values that do not change a caption, or whose files count by their hash
_NOT_COMPARED = {"bundle_root", "config_files", "dataset_dir", "datalist", "section", "output_dir", "outputs"}
_NOT_COMPARED |= {"output_options", "explain", "workers", "device", "calibration", "weights", "concept_reader"}
_NOT_COMPARED |= {"familiarity"}
_NOT_COMPARED |= {"general_encoder_weights", "detail_encoder_weights", "language_model_name"}


def made_with(parser: Any, values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """``weights`` (name to SHA-256) and ``settings`` that shape the captions of an inference config.

    The device is left out: a run may go on on another machine.

    Args:
        parser: MONAI's, with the config and ``values`` in it; the network is not built.
        values: what the user gave, which may be more than the settings that a trace names.

    Raises:
        WeightsError, InputError: weights are absent, or a value cannot be used.
    """
    parser["provenance#network"] = None
    try:
        found = parser.get_parsed_content("provenance")
        judges = {part: str(parser.get_parsed_content(part)) for part in ("calibration", "familiarity")}
    except RuntimeError as error:
        if (cause := user_cause(error)) is not None and cause is not error:
            raise cause from error
        if isinstance(error.__cause__, OSError):
            raise WeightsError(f"the weights cannot be read: {error.__cause__}") from error
        raise
    weights = dict(found["weights"])
    for part, file in judges.items():
        weights |= frozen_sha256(part, file) if file else {}
    settings = {**values, **found["trace"]["settings"]}
    settings = {name: value for name, value in sorted(settings.items()) if name not in _NOT_COMPARED}
    return json.loads(json.dumps({"weights": weights, "settings": settings}, default=str))


def check_origin(folder: Path, now: Mapping[str, Mapping[str, Any]], *, captioned: bool) -> None:
    """Note in ``folder`` what its captions are made with.

    Args:
        folder: the output folder of an archive.
        now: see :func:`made_with`.
        captioned: whether captions are there already; they were made with what the folder says.

    Raises:
        InputError: captions are there that were made with something else.
    """
    before: Mapping[str, Mapping[str, Any]] = {}
    with contextlib.suppress(OSError, ValueError):
        before = json.loads((folder / FILE).read_text(encoding="utf-8"))
    if captioned and before != now:
        why = (
            f"of which {FILE} does not say what made them" if not before else f"made otherwise: {_changes(before, now)}"
        )
        raise InputError(f"{folder} holds captions {why}; give another output_dir, or what they were made with.")
    if before != now:
        write_text_atomically(folder / FILE, json.dumps(now, indent=1))


def _changes(before: Mapping[str, Mapping[str, Any]], now: Mapping[str, Mapping[str, Any]]) -> str:
    """What differs, in words: weights by their names, settings with both values."""
    found = []
    for kind, names in now.items():
        earlier = before.get(kind, {})
        for name in sorted({*earlier, *names}):
            old, new = earlier.get(name), names.get(name)
            if old != new:
                found.append(f"weights {name}" if kind == "weights" else f"{name} {old!r}, now {new!r}")
    return "; ".join(found)
