"""Options of a caption request."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

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
"""Shown to clients as the task's options; each value may come in a request's ``params``."""
LIMITS = {"num_beams": (1, 16), "max_new_tokens": (1, 200)}


def caption_options(request: Mapping[str, Any]) -> dict[str, Any]:
    """Options of :meth:`CaptionPredictor.caption` from a request; what else it holds is MONAI Label's business.

    Raises:
        InputError: an option has a value that it cannot have, or a name that only looks like one.
    """
    for name in request:
        meant = difflib.get_close_matches(str(name), DEFAULTS, 1, 0.75)
        if name not in DEFAULTS and meant:
            raise InputError(f"option {name!r} is not known; did you mean {meant[0]!r}?")
    given = {name: request.get(name, default) for name, default in DEFAULTS.items()}
    for name, (low, high) in LIMITS.items():
        if not isinstance(given[name], int) or isinstance(given[name], bool) or not low <= given[name] <= high:
            raise InputError(f"{name} is {given[name]!r}; give a whole number from {low} to {high}")
    for name in ("window", "plane", "prompt"):
        if not isinstance(given[name], str):
            raise InputError(f"{name} is {given[name]!r}; give text")
    if isinstance(given["slice"], bool) or not isinstance(given["slice"], str | int | float):
        raise InputError(f"slice is {given['slice']!r}; give an index, a fraction or 'middle'")
    if given["explain"] not in (True, False, "attention", "gradient"):
        raise InputError(f"explain is {given['explain']!r}; give true, false, 'attention' or 'gradient'")
    return {**given, "prompt": given["prompt"] or None}
