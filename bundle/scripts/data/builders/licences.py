"""Licences of single images: which allow commercial use."""

from __future__ import annotations

import re

_OPEN = re.compile(r"^(cc0|public domain|pdm|pddl|cc[- ]?by|mit|apache|bsd)", re.IGNORECASE)
_CLOSED = re.compile(r"(^|[^a-z])(nc|non-?commercial|nd|no deriv)", re.IGNORECASE)


def allows_commercial_use(licence: str) -> bool:
    """Whether a licence's name is one of the open ones without NC or ND; an unknown or empty one is not.

    "CC BY", "cc-by-sa 4.0" and "CC0" are; "CC BY-NC", "CC BY-ND", "NO-CC CODE" and "" are not. A trained network is a
    derivative in the view of many: ND is left out with NC.
    """
    name = licence.strip().replace("_", " ")
    return bool(_OPEN.match(name)) and not _CLOSED.search(name)
