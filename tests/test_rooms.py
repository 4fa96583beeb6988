"""The rooms of ``bundle/scripts``: a room imports only from rooms before it, and no file grows out of hand."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[1] / "bundle" / "scripts"
ROOMS = (  # from the ground up; ARCHITECTURE.md says what is in them
    "errors", "atomic", "folder_lock", "distributed", "given_values", "command_line", "plain_config",
    "kernels", "reading", "windowing", "transforms", "generation", "data", "weights", "encoders", "concepts", "metrics",
    "networks", "explanation", "confidence", "provenance", "training", "checkpoints", "captioning", "outputs",
    "predictor", "inferers", "commands", "studies",
)  # fmt: skip


def _files() -> list[Path]:
    return [path for path in sorted(SCRIPTS.rglob("*.py")) if path.parent != SCRIPTS or path.name != "__init__.py"]


def _module(path: Path) -> str:
    parts = path.relative_to(SCRIPTS).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and module of each import from ``scripts``, those for types only left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively: write scripts.…"
            if (node.module or "").partition(".")[0] == "scripts":
                inside = node.module.partition(".")[2]
                names = (f"{inside}.{name.name}".strip(".") for name in node.names)
                yield from ((node.lineno, name) for name in names if name not in ("loads_submodules", "BUNDLE"))
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, n.name.partition(".")[2]) for n in node.names if n.name.startswith("scripts."))


def test_a_room_imports_only_from_rooms_before_it() -> None:
    against = []
    for path in _files():
        room = _module(path).partition(".")[0]
        for line, imported in _imports(path):
            other = imported.partition(".")[0]
            if ROOMS.index(other) > ROOMS.index(room):
                against.append(f"{path.relative_to(SCRIPTS)}:{line} ({room}) imports {imported}")
    assert not against, "\n".join(against)


def test_every_file_stands_in_a_room() -> None:
    assert {_module(path).partition(".")[0] for path in _files()} <= set(ROOMS)
    assert len(list(SCRIPTS.glob("[!_]*.py"))) <= 10, "at most ten modules stand loose in scripts/"


def test_modules_of_a_room_import_one_another_without_a_ring() -> None:
    modules = {_module(path) for path in _files()}
    uses: dict[str, set[str]] = defaultdict(set)
    for path in _files():
        for _, imported in _imports(path):
            name = imported if imported in modules else imported.rpartition(".")[0]
            if name != _module(path) and name in modules:
                uses[_module(path)].add(name)
    done: set[str] = set()

    def walk(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join((*way[way.index(module) :], module))
        if module not in done:
            for other in sorted(uses[module]):
                walk(other, (*way, module))
            done.add(module)

    for module in sorted(modules):
        walk(module, ())


def test_files_are_short_and_names_are_said_once() -> None:
    long = {_module(path): n for path in _files() if (n := len(path.read_text(encoding="utf-8").splitlines())) > 400}
    assert not long, f"over 400 lines: {long}"
    names: dict[str, list[str]] = defaultdict(list)
    for path in _files():
        if not path.name.startswith("__") and path.parent.name != "commands":  # a command is called by what it makes
            names[path.stem].append(_module(path))
    assert not {stem: places for stem, places in names.items() if len(places) > 1}
