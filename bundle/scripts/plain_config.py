"""`PlainConfig`: a bundle config read without MONAI, whose import takes 5 of the 7 s of processor time of a start.

It knows values, ``@id``, ``$expression`` and ``_target_`` by full name. What it does not know (overlays, macros, ids
inside ids, components of MONAI) it refuses with `NotPlainError`, and MONAI's ``ConfigParser`` is asked instead.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any


class NotPlainError(Exception):
    """A config uses something that only MONAI's parser understands."""


class PlainConfig:
    """Values of one JSON config in the bundle language: ``@id``, ``$expression``, ``_target_`` by its full name.

    Args:
        files: the config file; more than one is not plain.
        overrides: values of top-level keys.
        components: what stands here for a ``_target_`` of MONAI, or for one of ours that would import it.

    Raises:
        NotPlainError: see the module's head. Also raised by `get`.
    """

    def __init__(
        self,
        files: Sequence[str | Path],
        overrides: Mapping[str, Any],
        components: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        if len(files) != 1 or Path(files[0]).suffix != ".json":
            raise NotPlainError("overlays")
        self.raw = json.loads(Path(files[0]).read_text(encoding="utf-8"))
        self.raw.update(overrides)
        if any(re.search(r"^\+|#|::", key) for key in self.raw):
            raise NotPlainError("an id inside an id")
        self.globals: dict[str, Any] = {}
        for line in self.raw.get("imports", []):
            exec(line.removeprefix("$"), self.globals)  # as MONAI does: a config is a program
        self.components = dict(components or {})
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
        if not isinstance(target, str) or any(key in raw for key in ("_disabled_", "_requires_", "_mode_")):
            raise NotPlainError("a component that MONAI builds in a way of its own")
        if target not in self.components and not target.startswith("scripts."):
            raise NotPlainError("a component of MONAI")
        arguments = {key: self._value(v) for key, v in raw.items() if key not in ("_target_", "_desc_")}
        if target in self.components:
            return self.components[target](**arguments)
        module, _, name = target.rpartition(".")
        return getattr(importlib.import_module(module), name)(**arguments)
