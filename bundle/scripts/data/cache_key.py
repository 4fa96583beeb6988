"""What encoder tokens depend on, as hashes: the transform and its code, and the image files of a case.

Tokens from a cache must never differ from tokens computed now. Everything that could change them goes into a key;
a changed key is a cache miss, so a stale cache cannot be used.
"""

from __future__ import annotations

import ast
import functools
import hashlib
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

# Random generators and what MONAI's random transforms drew last: state, not settings. Each image sets the seed anew.
_IGNORED_ATTRIBUTES = {"R", "_do_transform", "_tracing", "logger"}


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
    """Hash the source that a project module may run: its part of ``scripts`` and all parts imported from there.

    ``scripts.windowing.transforms`` leans on its sisters and on ``scripts.reading``, so both parts count. Of other
    packages the version stands for the code.
    """
    top, _, rest = module.partition(".")
    if top == "scripts" and rest:
        parts, waiting = set(), {rest.partition(".")[0]}
        while waiting:
            part = waiting.pop()
            parts.add(part)
            waiting |= {name for file in _part_files(part) for name in _read_source(file)[1]} - parts
        return digest([_read_source(file)[0] for part in sorted(parts) for file in _part_files(part)])
    version = getattr(sys.modules.get(top), "__version__", None)
    return f"{top} {version}" if version else None


def _part_files(part: str) -> list[str]:
    """The files of ``scripts/<part>/`` or ``scripts/<part>.py``."""
    root = Path(__file__).parents[1]
    single = root / f"{part}.py"
    return [str(single)] if single.is_file() else sorted(str(file) for file in (root / part).rglob("*.py"))


@functools.cache
def _read_source(file: str) -> tuple[str, frozenset[str]]:
    """Hash of a source file without docstrings and comments, and the parts of ``scripts`` that it imports."""
    tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            imported |= _imported_parts(node, file)
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            body[0].value = ast.Constant(value="")
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), frozenset(imported)


def _imported_parts(node: ast.Import | ast.ImportFrom, file: str) -> set[str]:
    """Parts of ``scripts`` that one import statement of ``file`` names, absolute or relative."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif node.level == 0:
        names = [f"{node.module}.{alias.name}" for alias in node.names]
    else:
        inside = Path(file).relative_to(Path(__file__).parents[1]).parent.parts
        package = ["scripts", *inside][: len(inside) + 2 - node.level]
        names = [".".join([*package, *filter(None, [node.module]), alias.name]) for alias in node.names]
    found = {name.split(".")[1] for name in names if name.startswith("scripts.")}
    return {part for part in found if _part_files(part)}


def case_key(
    item: dict[str, Any],
    *,
    root: str | None = None,
    identity: str = "stat",
    setting_keys: Sequence[str] = ("window", "modality", "slice", "reading"),
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
    """Return ``path`` itself, or the files of a series or of its folder."""
    if path.endswith("::series"):
        from ..reading.folder_series import is_series_path, series_files

        return series_files(path) if is_series_path(path) else [path]
    if not os.path.isdir(path):
        return [path]
    return sorted(entry.path for entry in os.scandir(path) if entry.is_file())


def _stat_identity(file: str) -> list[Any]:
    status = os.stat(file)
    return [status.st_size, status.st_mtime_ns]


def _content_identity(file: str) -> list[Any]:
    with open(file, "rb") as stream:
        return [hashlib.file_digest(stream, "sha256").hexdigest()]
