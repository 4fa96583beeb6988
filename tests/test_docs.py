"""What the documentation names is there: paths, modules, links, commands, keys of a record, sentences of errors."""

from __future__ import annotations

import ast
import importlib
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BUNDLE = ROOT / "bundle"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), BUNDLE / "docs" / "README.md"]
EXTENDING = ROOT / "docs" / "extending.md"
PLACES = (
    "scripts/",
    "bundle/",
    "docs/",
    "tests/",
    "tools/",
    "configs/",
    "models/",
    "benchmarks/",
    "integrations/",
    "studies/",
)
NEW = set(re.findall(r"^`(bundle/[^`]+)`:", EXTENDING.read_text(encoding="utf-8"), re.MULTILINE))
"""Files that the recipes of docs/extending.md make; test_extending.py makes them."""
EXAMPLES = {"configs/mine.json", "scripts.room.module.X", "scripts.room.module"}
CODE = re.compile(r"`([^`\n]+)`|^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def pages() -> list[pytest.param]:
    return [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES]


def code_of(page: Path) -> list[str]:
    return [inline or block for inline, block in CODE.findall(page.read_text(encoding="utf-8"))]


def is_new(name: str) -> bool:
    path = name.replace(".", "/") if name.startswith("scripts.") else name.rsplit(".", 1)[0]
    return any(path.startswith(new.removeprefix("bundle/").rsplit(".", 1)[0]) for new in NEW) or name in NEW


@pytest.mark.parametrize("page", pages())
def test_paths_exist(page: Path) -> None:
    absent = []
    for text in code_of(page):
        for name in re.findall(r"(?<![\w/.@:-])[\w.-]+(?:/[\w.-]+)+/?", text):
            name = name.removesuffix("...")
            if not name.startswith(PLACES) or is_new(name) or name in EXAMPLES:
                continue
            places = (ROOT / name, page.parent / name, BUNDLE / name, ROOT / f"{name}.py")
            if not any(place.exists() for place in places):
                absent.append(name)
    assert not absent, f"{page.name} names {absent}"


@pytest.mark.parametrize("page", pages())
def test_modules_and_names_exist(page: Path) -> None:
    for name in sorted({name for text in code_of(page) for name in re.findall(r"\bscripts(?:\.\w+)+", text)}):
        if not (is_new(name) or name in EXAMPLES or name.endswith(".NAME")):
            assert _exists(name), f"{page.name} names {name}"
    for text in code_of(page):
        for module, names in re.findall(r"^from (scripts[.\w]*) import ([\w, ]+)", text, re.MULTILINE):
            for name in names.split(", ") if module not in EXAMPLES else ():
                assert _exists(f"{module}.{name.strip()}"), f"{page.name} imports {name} from {module}"


def _exists(name: str) -> bool:
    """Whether ``scripts.a.b.C.d`` can be reached, by the files and by what a module defines or re-exports."""
    module, names = name, []
    while module:
        try:
            thing = importlib.import_module(module)
            break
        except ModuleNotFoundError:
            module, _, last = module.rpartition(".")
            names.insert(0, last)
    for part in names:
        if not hasattr(thing, part):
            return False
        thing = getattr(thing, part)
    return True


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", pages())
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith(("http:", "https:")):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(there), f"{page.name} links to {target}, which has no such heading"


@pytest.mark.parametrize("page", pages())
def test_commands_of_make_exist(page: Path) -> None:
    rules = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    asked = {name for text in code_of(page) for name in re.findall(r"(?:^|[\n;&] ?)make ([a-z][\w-]*)", text)}
    assert asked <= rules, f"{page.name} calls make {sorted(asked - rules)}"


def test_every_page_can_be_found_from_the_readme() -> None:
    found, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in found or not page.is_file():
            continue
        found.add(page)
        links = re.findall(r"\]\(([^)#\s]+\.md)", page.read_text(encoding="utf-8"))
        waiting += [(page.parent / link).resolve() for link in links if not link.startswith("http")]
    assert set(PAGES) - found <= {BUNDLE / "docs" / "README.md"}


def test_the_record_in_the_guide_has_the_keys_of_a_record() -> None:
    from scripts.confidence import ConfidenceRule
    from scripts.outputs.record import caption_record

    page = (ROOT / "docs" / "inference.md").read_text(encoding="utf-8")
    shown = json.loads(re.search(r"<!-- record -->\n```json\n(.*?)```", page, re.DOTALL).group(1))
    provenance = {"model_version": "1", "weights": {}, "trace": {}}
    record = caption_record("a.dcm", caption=None, token_logprobs=None, meta=None, error="why", provenance=provenance)
    record = ConfidenceRule().apply(record)
    assert set(shown) == set(record)
    section = page.partition("## `captions.jsonl`")[2].partition("\n## ")[0]
    explained = {
        key for row in re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)
    }
    assert set(record) <= explained


def sentences() -> str:
    """All text that the code can print: literals, with the values of f-strings as a mark."""
    texts = []
    files = [*(BUNDLE / "scripts").rglob("*.py"), *(ROOT / "integrations").rglob("*.py")]
    for file in files:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "\0" for part in node.values]
                texts.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
                texts.append(node.value)
    return "\n".join([*texts, (ROOT / "Makefile").read_text(encoding="utf-8")])


def test_quoted_errors_are_those_of_the_program() -> None:
    """Each first cell of the tables that is one quotation; ``...`` stands for a value."""
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    assert len(quoted) > 30
    printed = sentences()
    for quotation in quoted:
        for part in filter(None, (part.strip(" ,") for part in quotation.split("..."))):
            assert part in printed, f"{quotation!r} is no sentence of the program"


def test_module_openings_are_statements() -> None:
    """A module says what it is ("CT windows by name"), not what it is about ("Which window to show")."""
    riddles = re.compile(r"(What|Where|Whether|Which|How|Who|Whose|When|Why|Do|Does|Is|Are)\b")
    folders = ("bundle/scripts", "integrations", "studies", "tools", "benchmarks")
    wrong = []
    for file in sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py")):
        opening = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
        if opening is None or riddles.match(opening):
            wrong.append(f"{file.relative_to(ROOT)}: {(opening or 'no docstring').splitlines()[0]}")
    assert not wrong, "\n".join(wrong)


def test_every_room_is_in_the_page_and_the_picture_of_the_architecture() -> None:
    import sys

    sys.path.insert(0, str(ROOT / "tools" / "docs"))
    import architecture_picture as picture

    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rooms = set(picture.room_imports()) - {picture.GROUND}
    names = {f"`{room}/`" if (BUNDLE / "scripts" / room).is_dir() else f"`{room}.py`" for room in rooms}
    names |= {f"`{module}`" for module in picture.loose_modules()}
    assert not {name for name in names if name not in page}
    for name in re.findall(rf"\b(?:{'|'.join(sorted(rooms))})/[\w/]+", page):
        place = BUNDLE / "scripts" / name
        assert place.exists() or place.with_suffix(".py").is_file(), f"ARCHITECTURE.md names {name}"
    grouped = {room for members, _, _ in picture.FAMILIES.values() for room in members}
    assert rooms <= grouped
    placed = [room for floor in picture.floors(picture.room_imports()) for room in floor]
    assert sorted(placed) == sorted({*rooms, picture.GROUND})
    level = {room: n for n, floor in enumerate(picture.floors(picture.room_imports())) for room in floor}
    assert all(level[room] > level[other] for room, other in picture.direct(picture.room_imports()))
