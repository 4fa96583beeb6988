"""Cache keys: hashes of all that encoder tokens depend on, the transform and its code, and the image files of a case.

Tokens from a cache must never differ from tokens computed now. Everything that could change them goes into a key;
a changed key is a cache miss, so a stale cache cannot be used.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch

from scripts.data.cache.code_hash import code_sha256
from scripts.data.datalist import image_paths
from scripts.errors import InputError

# Random generators and what MONAI's random transforms drew last: state, not settings. Each image sets the seed anew.
_IGNORED_ATTRIBUTES = {"R", "_do_transform", "_tracing", "logger"}
# Entries of a case that the transform reads.
_SETTING_KEYS = ("window", "modality", "slice", "reading")


def digest(value: Any) -> str:
    """Return the SHA-256 hex digest of a JSON-serialisable value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def describe(thing: Any) -> Any:
    """Describe a transform as nested JSON values: class names, settings, and the code of project classes.

    Two transforms with equal descriptions give equal images; editing a setting, or a file under ``scripts`` that a
    class leans on (docstrings and comments aside), changes the description.
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
        return {"class": f"{thing.__module__}.{thing.__qualname__}", "code": code_sha256(thing.__module__)}
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
        "code": code_sha256(function.__module__) or _describe_bytecode(function.__code__),
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


def case_key(item: dict[str, Any], *, root: str | None = None) -> str:
    """Hash what the tokens of one case depend on: its image files and the settings it brings along.

    A file is recognised by its relative path, size and modification time.

    Args:
        item: a case of a datalist with absolute image paths.
        root: folder that paths are taken relative to, so that a moved data set keeps its cache.

    Raises:
        InputError: an image file is missing.
    """
    files = []
    for path in image_paths(item):
        for file in _files_of(path):
            name = os.path.relpath(file, root) if root and file.startswith(root.rstrip(os.sep) + os.sep) else file
            try:
                status = os.stat(file)
                files.append([name, status.st_size, status.st_mtime_ns])
            except OSError as error:
                raise InputError(f"image {file} cannot be read: {error.strerror or error}.") from error
    settings = {key: describe(item[key]) for key in _SETTING_KEYS if item.get(key) is not None}
    return digest([files, settings])[:32]


def _files_of(path: str) -> list[str]:
    """Return ``path`` itself, or the files of a series or of its folder."""
    if path.endswith("::series"):
        from scripts.reading.dicom.folder_series import is_series_path, series_files

        return series_files(path) if is_series_path(path) else [path]
    if not os.path.isdir(path):
        return [path]
    return sorted(entry.path for entry in os.scandir(path) if os.path.isfile(entry))
