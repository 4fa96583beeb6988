"""Silence that several threads share: whole while one of them reads, and gone after the last."""

from __future__ import annotations

import logging
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import made_files
import numpy as np
import pydicom
import pytest
from PIL import Image

from scripts.reading import read_case
from scripts.reading.dicom.file import quiet_pydicom
from scripts.reading.quiet import Shared, quiet_warnings


def _state() -> tuple:
    """What is the whole process's."""
    settings = pydicom.config.settings
    modes = settings.reading_validation_mode, settings.writing_validation_mode
    return logging.getLogger("pydicom").disabled, modes, list(warnings.filters), warnings.showwarning


@pytest.mark.parametrize("other", [quiet_pydicom, quiet_warnings], ids=["pydicom", "warnings"])
def test_who_reads_longer_stays_quiet_and_nothing_stays_changed(other: Shared) -> None:
    """One reader begins, another one begins, the first ends, the second ends: as two threads do."""
    before = _state()
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        inner = _state()
        first, second = other(), quiet_pydicom()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        warnings.warn("DOE^JANE", stacklevel=1)
        assert not heard
        disabled, modes, *_ = _state()
        assert disabled and set(modes) == {pydicom.config.IGNORE}
        second.__exit__(None, None, None)
        assert _state() == inner
    assert _state() == before


def test_threads_that_read_at_once_leave_the_process_as_it_was(tmp_path: Path) -> None:
    named = made_files.ct_slice(made_files.body()[5])
    with pydicom.config.disable_value_validation():
        named.StudyDate = "DOE^JANE, WHICH IS NO DATE"
    dicom = made_files.save(tmp_path / "a.dcm", named)
    Image.fromarray(made_files.phantom().astype(np.uint8)).save(tmp_path / "a.png")
    before = _state()
    with ThreadPoolExecutor(8) as pool:
        cases = list(pool.map(read_case, [dicom, tmp_path / "a.png"] * 40))
    assert len(cases) == 80 and _state() == before


def test_an_error_inside_ends_the_silence() -> None:
    before = _state()
    with pytest.raises(ZeroDivisionError), quiet_pydicom():
        raise ZeroDivisionError
    assert _state() == before
