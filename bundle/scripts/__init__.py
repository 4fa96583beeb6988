"""Medical image captioning with two frozen encoders and two Q-Formers (MSMedCap), as a MONAI Bundle.

Data flows ``reading -> windowing -> encoders -> qformer -> networks -> generation -> outputs``; each name is a
module or folder here. ``predictor.CaptionPredictor`` is the one class an integration needs.
"""

from __future__ import annotations

import importlib
from types import ModuleType


def __getattr__(name: str) -> ModuleType:
    """Load a submodule at first use, so that a config needs only ``$import scripts``."""
    if name.startswith("__"):
        raise AttributeError(name)
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise
        raise AttributeError(f"module {__name__!r} has no module {name!r}") from None
