"""Which slices a rule names."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.errors import InputError
from scripts.reading.slices import choose, most_informative


def _choose(count: int, rule: object) -> list[int]:
    return choose(count, rule, fetch=lambda i: np.zeros((8, 8)), what="slice", path="x.nii")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("middle", [5]), ("first", [0]), ("last", [9]), (3, [3]), (-1, [9]), ("3", [3]), (0.25, [2]), ("0.25", [2]),
        (1.0, [9]), (0.0, [0]), ("25%", [2]), ("even:2", [2, 7]), ("even:50", list(range(10))),
        ("all", list(range(10))),
        ([1, 0.5, "last", 1], [1, 5, 9]), ("0.25,middle,9", [2, 5, 9]), (np.int64(4), [4]),
    ],
)  # fmt: skip
def test_rules(rule: object, expected: list[int]) -> None:
    assert _choose(10, rule) == expected


@pytest.mark.parametrize("rule", [10, -11, 1.5, -0.1, "centre", "even:0", "even:x", [], None, True, "", "nan"])
def test_bad_rules_are_refused(rule: object) -> None:
    with pytest.raises(InputError, match=r"x\.nii"):
        _choose(10, rule)


def test_most_informative_is_the_slice_with_most_structure() -> None:
    generator = np.random.default_rng(0)
    noise = generator.normal(0, 1, (9, 64, 64))
    noise[6, 10:50, 10:50] += np.linspace(0, 500, 40)[:, None]
    noise[2, 20:30, 20:30] += 500
    assert most_informative(9, lambda i: noise[i]) == 6
