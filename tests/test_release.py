"""What a release says of itself: one version, a changelog that has it, how to cite, what may be installed."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
METADATA = json.loads((ROOT / "bundle" / "configs" / "metadata.json").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_version_stands_in_one_place(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import package

    version = METADATA["version"]
    assert version == package.VERSION and "version" not in PROJECT["project"]
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "tools.package.VERSION"}
    assert next(iter(METADATA["changelog"])) == version, "the newest entry comes first"
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\S+)", changes, re.MULTILINE) == list(METADATA["changelog"])


def test_the_citation_has_what_its_format_demands() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0" and citation["message"] and citation["title"]
    assert "version" not in citation, "the version stands in metadata.json"
    for work in (citation, *citation["references"]):
        assert work["authors"] and all("name" in author for author in work["authors"]) and work["title"]
    assert {work["type"] for work in citation["references"]} <= {"article", "conference-paper"}
    assert any("2311.01004" in work["url"] for work in citation["references"])


def test_make_and_pyproject_take_the_same_pythons() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    low, high = (tuple(map(int, part.split(", "))) for part in re.search(
        r"not \((3, \d+)\) <= sys.version_info\[:2\] <= \((3, \d+)\)", makefile).groups())  # fmt: skip
    assert PROJECT["project"]["requires-python"] == f">={low[0]}.{low[1]},<{high[0]}.{high[1] + 1}"
    assert low <= sys.version_info[:2] <= high
