"""MONAI's dictionary transforms: files to images, views, captions, mirroring.

Loaded at first use: a start without MONAI takes `preprocessing` and `views` from here and nothing else.
"""

from __future__ import annotations

import importlib
from typing import Any

from scripts import loads_submodules

MODULES = {
    "DecodeCaptiond": "captions",
    "EachViewd": "each_view",
    "Letterboxd": "image_steps",
    "LoadCased": "image_steps",
    "MedicalImageReader": "image_reader",
    "RandMirrord": "mirror",
    "TokenizeCaptiond": "captions",
    "WindowToUnitd": "image_steps",
    "clean_caption": "captions",
}
"""Name -> module of this package."""

_submodule = loads_submodules(__name__)


def __getattr__(name: str) -> Any:
    if name in MODULES:
        return getattr(importlib.import_module(f"{__name__}.{MODULES[name]}"), name)
    return _submodule(name)
