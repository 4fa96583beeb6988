"""Options of a caption request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scripts.commands.options import CaptionOptions, options_of, refuse_near_misses, remedy
from scripts.predictor import InputError

DEFAULTS: dict[str, Any] = {
    "window": "auto",
    "slice": "middle",
    "plane": "auto",
    "prompt": "",
    "num_beams": 3,
    "max_new_tokens": 48,
    "explain": False,
}
"""Shown to clients as the task's options; these and every other of the table may come in a request's ``params``."""


def caption_options(request: Mapping[str, Any]) -> dict[str, Any]:
    """Options of :meth:`CaptionPredictor.caption` from a request; what else it holds is MONAI Label's business.

    Raises:
        InputError: an option has a value that it cannot have, or a name that only looks like one.
    """
    refuse_near_misses({name: value for name, value in request.items() if name not in DEFAULTS})
    given = {**DEFAULTS, **{name: value for name, value in request.items() if name in CaptionOptions.model_fields}}
    for name, value in given.items():
        if value is None:
            raise InputError(f"{name} is null; give {remedy(name)}")
    options_of(given)
    return {**given, "prompt": given["prompt"] or None}
