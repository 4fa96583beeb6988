"""Captioners that already run on this computer."""

from __future__ import annotations

from ..errors import CaptioningError
from .choices import DEFAULT_URL, LABEL, SERVICE
from .server import LabelServer
from .service import CaptionService

QUICK = 0.5
"""Seconds within which a server on this computer answers."""


def running_servers() -> dict[str, str]:
    """Mode -> address of the servers that answer at their usual port on this computer and caption."""
    found = {}
    for mode, kind in ((LABEL, LabelServer), (SERVICE, CaptionService)):
        server = kind(DEFAULT_URL[mode], seconds=QUICK)
        try:
            server.check()
        except CaptioningError:
            continue
        finally:
            server.close()
        found[mode] = DEFAULT_URL[mode]
    return found
