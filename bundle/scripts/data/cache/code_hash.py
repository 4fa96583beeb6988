"""Hash of the source that a class or function may run: its file, and file by file all that it imports from ``scripts``.

Files count one by one, not by folder: a change beside them leaves their hash, and caches that carry it, as they are.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The folder ``scripts``."""


@functools.cache
def code_sha256(module: str) -> str | None:
    """Hash of the source that a module may run; for another package than ``scripts`` its name and version.

    None where a package tells no version.
    """
    top = module.partition(".")[0]
    if top == "scripts" and _file_of(module) is not None:
        sources = [_read_source(file)[0] for file in files_of(module)]
        return hashlib.sha256("\n".join(sources).encode()).hexdigest()
    version = getattr(sys.modules.get(top), "__version__", None)
    return f"{top} {version}" if version else None


def files_of(module: str) -> list[Path]:
    """The file of a module ``scripts.…`` and all files under ``scripts`` that it imports, directly or not."""
    files: set[Path] = set()
    waiting = {_file_of(module)}
    while waiting:
        file = waiting.pop()
        files.add(file)
        waiting |= {_file_of(name) for name in _read_source(file)[1]} - files
    return sorted(files)


def _file_of(module: str) -> Path | None:
    """The file that defines ``scripts.a.b``; None where there is none."""
    path = ROOT.joinpath(*module.split(".")[1:])
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in candidates if file.is_file() and file != ROOT / "__init__.py"), None)


@functools.cache
def _read_source(file: Path) -> tuple[str, frozenset[str]]:
    """Hash of a source file without docstrings and comments, and the modules of ``scripts`` that it imports."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    imported = frozenset(name for node in ast.walk(tree) for name in _imported(node, file))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            body[0].value = ast.Constant(value="")
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), imported


def _imported(node: ast.AST, file: Path) -> Iterator[str]:
    """Modules of ``scripts`` that one statement of ``file`` imports, absolutely or relatively."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        package = ("scripts", *file.relative_to(ROOT).parent.parts)
        start = ".".join(package[: len(package) + 1 - node.level]) if node.level else ""
        base = ".".join(filter(None, [start, node.module]))
        names = [name for alias in node.names for name in (f"{base}.{alias.name}", base)]
        names = [next((name for name in names[n : n + 2] if _is_ours(name)), "") for n in range(0, len(names), 2)]
    else:
        names = []
    yield from (name for name in names if _is_ours(name))


def _is_ours(module: str) -> bool:
    return module.startswith("scripts.") and _file_of(module) is not None
