"""What encoder tokens depend on, as hashes: the transform and its code, and the image files of a case.

Tokens from a cache must never differ from tokens computed now. Everything that could change them goes into a key;
a changed key is a cache miss, so a stale cache cannot be used.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch

from ..errors import InputError
from .datalist import image_paths

# Objects whose state is the state of a random generator, not a setting; their seed is set for each image anyway.
_IGNORED_ATTRIBUTES = {"R", "logger"}


def digest(value: Any) -> str:
    """Return the SHA-256 hex digest of a JSON-serialisable value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def describe(thing: Any) -> Any:
    """Describe a transform as nested JSON values: class names, settings, and the code of project classes.

    Two transforms with equal descriptions give equal images; editing a setting, or the code under ``scripts`` that a
    class lives in (docstrings and comments aside), changes the description.
    """
    return _describe(thing, ())


def _describe(thing: Any, seen: tuple[int, ...]) -> Any:
    if thing is None or isinstance(thing, bool | int | float | str):
        return thing
    if isinstance(thing, bytes):
        return hashlib.sha256(thing).hexdigest()
    if isinstance(thing, os.PathLike | torch.dtype | torch.device | np.dtype):
        return str(thing)
    if isinstance(thing, torch.Tensor | np.ndarray | np.generic):
        array = thing.detach().cpu().contiguous().numpy() if isinstance(thing, torch.Tensor) else np.asarray(thing)
        return {"array": [str(array.dtype), list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]}
    if id(thing) in seen:
        return "<circle>"
    seen = (*seen, id(thing))
    if isinstance(thing, Mapping):
        return {str(key): _describe(value, seen) for key, value in thing.items()}
    if isinstance(thing, set | frozenset):
        return sorted(json.dumps(_describe(value, seen), sort_keys=True) for value in thing)
    if isinstance(thing, Sequence):
        return [_describe(value, seen) for value in thing]
    if isinstance(thing, type):
        return {"class": f"{thing.__module__}.{thing.__qualname__}", "code": _module_code(thing.__module__)}
    if isinstance(thing, FunctionType | MethodType | functools.partial):
        return _describe_function(thing, seen)
    return _describe_object(thing, seen)


def _describe_function(function: Any, seen: tuple[int, ...]) -> Any:
    if isinstance(function, functools.partial):
        return [_describe(part, seen) for part in ("partial", function.func, function.args, function.keywords)]
    owner = _describe(function.__self__, seen) if isinstance(function, MethodType) else None
    function = getattr(function, "__func__", function)
    cells = [_describe(cell.cell_contents, seen) for cell in function.__closure__ or ()]
    return {
        "function": f"{function.__module__}.{function.__qualname__}",
        "code": _module_code(function.__module__) or _describe_bytecode(function.__code__),
        "bound": [owner, cells, _describe(function.__defaults__, seen), _describe(function.__kwdefaults__, seen)],
    }


def _describe_bytecode(code: CodeType) -> Any:
    constants = [_describe_bytecode(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return [hashlib.sha256(code.co_code).hexdigest(), list(code.co_names), constants]


def _describe_object(thing: Any, seen: tuple[int, ...]) -> Any:
    """Describe any other object by its class and attributes; ``__slots__`` and enums included."""
    if hasattr(thing, "name") and hasattr(type(thing), "__members__"):  # an enum member
        return [type(thing).__qualname__, thing.name]
    attributes = dict(getattr(thing, "__dict__", {}))
    for slot in getattr(type(thing), "__slots__", ()):
        attributes[slot] = getattr(thing, slot, None)
    settings = {key: _describe(value, seen) for key, value in attributes.items() if key not in _IGNORED_ATTRIBUTES}
    return {**_describe(type(thing), seen), "settings": settings}


@functools.cache
def _module_code(module: str) -> str | None:
    """Hash the source of a project module and of its sister modules in the same folder; versions elsewhere.

    A reader in ``scripts.reading.reader`` leans on its sisters, so ``scripts/reading`` counts as one.
    """
    top, _, rest = module.partition(".")
    if top == "scripts" and rest:
        package = f"scripts.{rest.partition('.')[0]}"
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            return None
        origin = Path(spec.origin)
        files = sorted(origin.parent.rglob("*.py")) if spec.submodule_search_locations else [origin]
        return digest([_source_digest(str(file)) for file in files])
    version = getattr(sys.modules.get(top), "__version__", None)
    return f"{top} {version}" if version else None


@functools.cache
def _source_digest(file: str) -> str:
    tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    for node in ast.walk(tree):  # docstrings say nothing about results
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            body[0].value = ast.Constant(value="")
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def case_key(
    item: dict[str, Any],
    *,
    root: str | None = None,
    identity: str = "stat",
    setting_keys: Sequence[str] = ("window", "modality", "slice"),
) -> str:
    """Hash what the tokens of one case depend on: its image files and the settings it brings along.

    Args:
        item: a case of a datalist with absolute image paths.
        root: folder that paths are taken relative to, so that a moved data set keeps its cache.
        identity: ``stat`` (relative path, size, modification time) or ``content`` (SHA-256 of the bytes).
        setting_keys: entries of ``item`` that the transform reads.

    Raises:
        InputError: an image file is missing.
    """
    identify: Callable[[str], list[Any]] = _content_identity if identity == "content" else _stat_identity
    files = []
    for path in image_paths(item):
        for file in _files_of(path):
            name = os.path.relpath(file, root) if root and file.startswith(root.rstrip(os.sep) + os.sep) else file
            try:
                files.append([*identify(file)] if identity == "content" else [name, *identify(file)])
            except OSError as error:
                raise InputError(f"image {file} cannot be read: {error.strerror or error}.") from error
    settings = {key: describe(item[key]) for key in setting_keys if item.get(key) is not None}
    return digest([files, settings])[:32]


def _files_of(path: str) -> list[str]:
    """Return ``path`` itself, or the files of a series folder."""
    if not os.path.isdir(path):
        return [path]
    return sorted(entry.path for entry in os.scandir(path) if entry.is_file())


def _stat_identity(file: str) -> list[Any]:
    status = os.stat(file)
    return [status.st_size, status.st_mtime_ns]


def _content_identity(file: str) -> list[Any]:
    with open(file, "rb") as stream:
        return [hashlib.file_digest(stream, "sha256").hexdigest()]
