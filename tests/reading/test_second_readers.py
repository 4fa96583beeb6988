"""Files of every kind, made afresh, are read as they were written, and another reader or the standard says the same."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import made_kinds
import numpy as np
import pytest
import second_readers

from scripts.reading import read_case

Maker = Callable[[Path], Iterator[made_kinds.Made]]
AT_LEAST = {"dicom_grey": 100, "dicom_high_bit": 12, "dicom_colour": 25, "dicom_tables": 50, "tiffs": 250,
            "niftis": 100, "nrrds": 140, "metaimages": 100}  # fmt: skip
"""Combinations of each maker: some 900 in all."""


@pytest.mark.parametrize("maker", made_kinds.MAKERS, ids=lambda maker: maker.__name__)
def test_files_are_read_as_they_were_written(
    maker: Callable[[Path], Iterator[made_kinds.Made]], tmp_path: Path
) -> None:
    """Exactly, but for JPEG baseline (8 grey values of 256: what its quantisation may cost at quality 95)."""
    wrong, alone, count = [], [], 0
    for made in maker(tmp_path):
        count += 1
        found = read_case(made.path).pixels[0]
        wanted = np.asarray(made.expected, np.float32)
        if found.shape != wanted.shape or np.abs(found - wanted).max() > made.tolerance:
            wrong.append(f"{made.kind}: {made.name}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other readers' remarks on what is unusual
            votes = [second_readers.agrees(made, reader) for reader in second_readers.readers_of(made).values()]
        if not any(votes) and not made.rule and (second_readers.HAS_DCMTK or any(vote is not None for vote in votes)):
            alone.append(f"{made.kind}: {made.name}")
    assert not wrong, wrong
    assert not alone, f"no other reader agrees and no standard is cited: {alone}"
    assert count >= AT_LEAST[maker.__name__]
