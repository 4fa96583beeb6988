"""Programs that draw the pages' pictures: the files that they read and write lie where the project has them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = sorted(tool for tool in (ROOT / "tools" / "docs").glob("*.py") if " = Path(__file__)" in tool.read_text())


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.stem)
def test_every_place_that_it_names_is_there(tool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec = importlib.util.spec_from_file_location(f"docs_tool_{tool.stem}", tool)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        pytest.skip(f"{tool.name} needs what is not installed: {error}")
    named = {name: value for name, value in vars(module).items() if isinstance(value, Path) and name.isupper()}
    assert named, "no place is named: this test would see nothing"
    for name, path in named.items():
        assert path.is_relative_to(ROOT) and path.exists(), (name, path)
