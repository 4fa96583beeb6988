"""Medical image captioning with two frozen encoders and two Q-Formers (MSMedCap), as a MONAI Bundle.

The rooms, from the ground up; each imports only from those before it: ``kernels``, ``reading``, ``windowing``,
``transforms``, ``generation``, ``data``, ``weights``, ``encoders``, ``concepts``, ``metrics``, ``networks`` (the
method), ``explanation``, ``confidence``, ``provenance``, ``training``, ``checkpoints``, ``outputs``, ``commands``,
``studies``.
``predictor.CaptionPredictor`` is the one class an integration needs.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

BUNDLE = Path(__file__).resolve().parents[1]
"""The folder of the bundle that this package belongs to."""


def bundle_root() -> str:
    """`BUNDLE` as text; ``.`` for programs that run inside it."""
    return "." if Path.cwd() == BUNDLE else str(BUNDLE)


def loads_submodules(package: str, places: Mapping[str, str] | None = None) -> Callable[[str], Any]:
    """``__getattr__`` of a package that loads submodules at first use: a config needs only ``$import scripts``.

    Args:
        package: its full name.
        places: names that the package offers as its own, each with the submodule that defines it.
    """
    places = places or {}

    def load(name: str) -> Any:
        if name in places:
            return getattr(importlib.import_module(f"{package}.{places[name]}"), name)
        if not name.startswith("__"):
            try:
                return importlib.import_module(f"{package}.{name}")
            except ModuleNotFoundError as error:
                if error.name != f"{package}.{name}":
                    raise
        raise AttributeError(f"module {package!r} has no module {name!r}")

    return load


__getattr__ = loads_submodules(__name__)
