"""One handler that stands for several which are defined, and referred to, elsewhere in a config."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class AttachAll:
    """Attach handlers in order.

    A config names the history and the checkpoints at its top level, because they refer to one another; MONAI's
    property check wants every entry of a handler list to be a definition, not a reference. This is that definition.

    Args:
        handlers: each with ``attach(engine)``.
    """

    def __init__(self, handlers: Sequence[Any]) -> None:
        self.handlers = list(handlers)

    def attach(self, engine: Any) -> None:
        for handler in self.handlers:
            handler.attach(engine)
