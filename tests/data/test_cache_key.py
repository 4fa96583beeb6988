"""What a cache key notices, and what it rightly ignores."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.transforms import Compose, Lambdad, RandFlipd, ScaleIntensityRanged

from scripts.data import cache_key
from scripts.data.cache_key import describe, digest


def _key(thing: Any) -> str:
    return digest(describe(thing))


def test_settings_of_transforms_count_and_random_state_does_not() -> None:
    def chain(top: float = 1.0, prob: float = 0.5) -> Compose:
        scale = ScaleIntensityRanged("image", 0, 255, 0, top)
        return Compose([scale, RandFlipd("image", prob=prob)])

    assert _key(chain()) == _key(chain())
    used = chain()
    used.set_random_state(seed=3)
    used({"image": torch.zeros(3, 4, 4)})
    assert _key(used) == _key(chain())
    assert len({_key(chain()), _key(chain(top=2.0)), _key(chain(prob=0.1))}) == 3


def test_functions_count_by_what_they_do() -> None:
    def scaled(factor: float) -> Any:
        return lambda image: image * factor

    assert _key(scaled(2.0)) == _key(scaled(2.0))
    assert _key(scaled(2.0)) != _key(scaled(3.0))  # a closure's value
    assert _key(lambda image: image + 1) != _key(lambda image: image + 2)  # a constant
    assert _key(lambda image: image.min()) != _key(lambda image: image.max())  # a name
    assert _key(functools.partial(max, 1)) != _key(functools.partial(max, 2))
    assert _key(Lambdad("image", scaled(2.0))) != _key(Lambdad("image", scaled(3.0)))


def test_arrays_tensors_and_circles() -> None:
    assert _key(np.arange(3)) != _key(np.arange(4))
    assert _key(torch.zeros(2)) != _key(torch.ones(2))
    circle: list[Any] = [1]
    circle.append(circle)
    assert describe(circle) == [1, "<circle>"]
    assert _key({"a": {3, 1}}) == _key({"a": {1, 3}})


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``scripts`` folder of two parts, where ``windowing`` imports ``reading`` and not ``metrics``."""
    root = tmp_path / "scripts"
    for part in ("data", "windowing", "reading", "metrics"):
        (root / part).mkdir(parents=True)
    (root / "errors.py").write_text("class InputError(ValueError): pass\n")
    (root / "windowing" / "a.py").write_text("from ..reading import b\nimport numpy\n")
    (root / "reading" / "b.py").write_text('"""Doc."""\nfrom scripts.errors import InputError\nVALUE = 1\n')
    (root / "metrics" / "c.py").write_text("VALUE = 1\n")
    monkeypatch.setattr(cache_key, "__file__", str(root / "data" / "cache_key.py"))
    return root


def _code() -> str | None:
    cache_key._module_code.cache_clear()
    cache_key._read_source.cache_clear()
    return cache_key._module_code("scripts.windowing.a")


@pytest.mark.parametrize(
    ("file", "content", "counts"),
    [
        ("windowing/a.py", "from ..reading import b\nimport torch\n", True),
        ("reading/b.py", '"""Doc."""\nfrom scripts.errors import InputError\nVALUE = 2\n', True),
        ("errors.py", "class InputError(Exception): pass\n", True),  # reached through reading
        ("reading/new.py", "VALUE = 1\n", True),
        ("reading/b.py", '"""Other words."""\nfrom scripts.errors import InputError\n\nVALUE = 1  # why\n', False),
        ("metrics/c.py", "VALUE = 2\n", False),
    ],
)
def test_code_counts_where_it_is_imported(project: Path, file: str, content: str, counts: bool) -> None:
    try:
        before = _code()
        (project / file).write_text(content)
        assert (_code() != before) is counts
    finally:
        cache_key._module_code.cache_clear()
        cache_key._read_source.cache_clear()


def test_real_transforms_reach_the_readers() -> None:
    """The project's own transforms lean on its readers."""
    pytest.importorskip("scripts.windowing")
    _, imported = cache_key._read_source(cache_key._part_files("windowing")[0])
    reached = {name for file in cache_key._part_files("windowing") for name in cache_key._read_source(file)[1]}
    assert "reading" in reached | imported
