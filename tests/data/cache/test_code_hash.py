"""Which files the hash of a piece of code notices, and which it rightly ignores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.data.cache import code_hash
from scripts.data.cache.code_hash import code_sha256, files_of


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A ``scripts`` folder where ``windowing.a`` imports ``reading.b`` and neither ``reading.d`` nor ``metrics.c``."""
    root = tmp_path / "scripts"
    for part in ("windowing", "reading", "metrics"):
        (root / part).mkdir(parents=True)
        (root / part / "__init__.py").write_text("")
    (root / "errors.py").write_text("class InputError(ValueError): pass\n")
    (root / "windowing" / "a.py").write_text("from ..reading import b\nimport numpy\n")
    (root / "reading" / "b.py").write_text('"""Doc."""\nfrom scripts.errors import InputError\nVALUE = 1\n')
    (root / "reading" / "d.py").write_text("VALUE = 1\n")
    (root / "metrics" / "c.py").write_text("VALUE = 1\n")
    monkeypatch.setattr(code_hash, "ROOT", root)
    yield root
    forget()


def forget() -> None:
    code_sha256.cache_clear()
    code_hash._read_source.cache_clear()


def _code() -> str | None:
    forget()
    return code_sha256("scripts.windowing.a")


@pytest.mark.parametrize(
    ("file", "content", "counts"),
    [
        ("windowing/a.py", "from ..reading import b\nimport torch\n", True),
        ("reading/b.py", '"""Doc."""\nfrom scripts.errors import InputError\nVALUE = 2\n', True),
        ("errors.py", "class InputError(Exception): pass\n", True),  # reached through reading
        ("reading/b.py", '"""Other words."""\nfrom scripts.errors import InputError\n\nVALUE = 1  # why\n', False),
        ("reading/d.py", "VALUE = 2\n", False),  # beside it, not imported
        ("reading/new.py", "VALUE = 1\n", False),
        ("metrics/c.py", "VALUE = 2\n", False),
    ],
)
def test_code_counts_where_it_is_imported(project: Path, file: str, content: str, counts: bool) -> None:
    before = _code()
    (project / file).write_text(content)
    assert (_code() != before) is counts


def test_real_transforms_reach_the_readers_and_not_the_metrics() -> None:
    reached = {str(file.relative_to(code_hash.ROOT)) for file in files_of("scripts.transforms.image_steps")}
    assert {"transforms/image_steps.py", "reading/dicom/pixels.py", "windowing/ct.py"} <= reached
    assert not {name.partition("/")[0] for name in reached} & {"metrics", "networks", "training", "concepts"}


def test_other_packages_count_by_their_version() -> None:
    assert code_sha256("numpy.random").startswith("numpy ")
    assert code_sha256("no_such_package.module") is None
