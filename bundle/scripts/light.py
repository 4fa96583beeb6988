"""Start without MONAI: captioning alone needs two things of it, which cost 5 of the 7 s of processor time of a start.

* `reading` gives the transforms from a path to a square image. They derive from MONAI's classes and use little of them,
  so in a process that has not imported MONAI they are loaded on stand-ins for those, and then forgotten by name:
  whoever imports ``scripts.reading`` or ``scripts.windowing`` gets the real ones.
* `LightConfig` reads a plain inference config. What it does not know (overlays, macros, ids inside ids) it refuses with
  `NotPlainError`, and MONAI's ``ConfigParser`` is asked instead.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

__all__ = ["LightConfig", "NotPlainError", "reading"]


class _MapTransform:
    """What our transforms use of ``monai.transforms.MapTransform``."""

    def __init__(self, keys: str | Sequence[str], allow_missing_keys: bool = False) -> None:
        self.keys = (keys,) if isinstance(keys, str) else tuple(keys)

    def key_iterator(self, data: Mapping[str, Any]) -> Iterator[str]:
        return iter(self.keys)


# modules of MONAI that scripts.reading and scripts.windowing import, and what stands in for the names they use
STAND_INS: dict[str, dict[str, type]] = {
    "monai": {},
    "monai.config": {"KeysCollection": object},
    "monai.data": {"ImageReader": object},
    "monai.transforms": {"MapTransform": _MapTransform},
}
OURS = ("scripts.reading", "scripts.windowing")
TRANSFORMS = ("LoadCased", "WindowToUnitd", "Letterboxd", "letterbox")
_LOADING = threading.Lock()


@cache
def reading() -> SimpleNamespace:
    """``LoadCased``, ``WindowToUnitd``, ``Letterboxd`` and ``letterbox`` of ``scripts.windowing``."""
    with _LOADING:
        if "monai" in sys.modules or any(name in sys.modules for name in OURS):
            return _transforms()
        with _stand_ins():
            try:
                return _transforms()
            finally:
                for name in [name for name in sys.modules if name.startswith(OURS)]:
                    del sys.modules[name]
                for name in OURS:  # `import scripts.reading` sets them as attributes of the package, too
                    vars(sys.modules["scripts"]).pop(name.partition(".")[2], None)


def _transforms() -> SimpleNamespace:
    module = importlib.import_module("scripts.windowing")
    return SimpleNamespace(**{name: getattr(module, name) for name in TRANSFORMS})


@contextmanager
def _stand_ins() -> Iterator[None]:
    """Inside, the modules of `STAND_INS` hold nothing but the stand-ins."""
    for name, classes in STAND_INS.items():
        shell = ModuleType(name)
        shell.__path__ = []
        vars(shell).update(classes)
        sys.modules[name] = shell
    try:
        yield
    finally:
        for name in STAND_INS:
            del sys.modules[name]


class NotPlainError(Exception):
    """A config uses something that only MONAI's parser understands."""


class LightConfig:
    """Values of one JSON config in the bundle language: ``@id``, ``$expression``, ``_target_`` by its full name.

    Args:
        files: the config file; more than one is not plain.
        overrides: values of top-level keys.

    Raises:
        NotPlainError: see the module's head. Also raised by `get`.
    """

    def __init__(self, files: Sequence[str | Path], overrides: Mapping[str, Any]) -> None:
        if len(files) != 1 or Path(files[0]).suffix != ".json":
            raise NotPlainError("overlays")
        self.raw = json.loads(Path(files[0]).read_text(encoding="utf-8"))
        self.raw.update(overrides)
        if any(re.search(r"^\+|#|::", key) for key in self.raw):
            raise NotPlainError("an id inside an id")
        self.globals: dict[str, Any] = {}
        for line in self.raw.get("imports", []):
            exec(line.removeprefix("$"), self.globals)  # as MONAI does: a config is a program
        self.made: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        """The value of a top-level key; everything is made once."""
        if key not in self.made:
            if key not in self.raw:
                raise NotPlainError(f"no key {key}")
            self.made[key] = self._value(self.raw[key])
        return self.made[key]

    def _value(self, raw: Any) -> Any:
        if isinstance(raw, list):
            return [self._value(item) for item in raw]
        if isinstance(raw, dict):
            return self._component(raw) if "_target_" in raw else {key: self._value(v) for key, v in raw.items()}
        if not isinstance(raw, str):
            return raw
        if raw.startswith("%"):
            raise NotPlainError("a macro")
        if raw.startswith("@"):
            if not re.fullmatch(r"@\w+", raw):
                raise NotPlainError("an id inside an id")
            return self.get(raw[1:])
        return self._expression(raw[1:]) if raw.startswith("$") else raw

    def _expression(self, text: str) -> Any:
        if re.search(r"@\w*(?:#|::)|@(?!\w)", text):
            raise NotPlainError("an id inside an id")
        values = {name: self.get(name) for name in re.findall(r"@(\w+)", text)}
        return eval(re.sub(r"@(\w+)", r"__values['\1']", text), {**self.globals, "__values": values})

    def _component(self, raw: Mapping[str, Any]) -> Any:
        target = raw["_target_"]
        if (
            not isinstance(target, str)
            or not target.startswith("scripts.")
            or any(key in raw for key in ("_disabled_", "_requires_", "_mode_"))
        ):
            raise NotPlainError("a component of MONAI")
        module, _, name = target.rpartition(".")
        arguments = {key: self._value(v) for key, v in raw.items() if key not in ("_target_", "_desc_")}
        return getattr(importlib.import_module(module), name)(**arguments)
