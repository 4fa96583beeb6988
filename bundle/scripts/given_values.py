"""Values typed on a command line, as the values that they mean.

MONAI's command line reads Python literals: ``--explain true`` arrives as the text ``"true"``, and ``"false"`` is
a text that counts as true.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from scripts.errors import InputError

_SWITCHES = {"true": True, "false": False}


def switch(value: Any) -> Any:
    """``"true"`` and ``"false"``, in any case, as booleans; everything else as it is."""
    return _SWITCHES.get(value.lower(), value) if isinstance(value, str) else value


def typed_settings(items: Sequence[str]) -> dict[str, Any]:
    """``["num_beams=1", "weights=runs/model.pt"]`` as config values: numbers, true, false, null and lists as JSON has
    them, anything else as text.

    Raises:
        InputError: an item without ``=``.
    """
    values = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not equals or not key:
            raise InputError(f"{item!r} is no setting: give KEY=VALUE, such as num_beams=1")
        try:
            values[key] = json.loads(text)
        except ValueError:
            values[key] = switch(text)
    return values
