"""Damaged files end in an image or in one sentence; briefly here, at length by `make fuzz`."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import fuzzing
import made_files
import numpy as np
import pydicom
import pytest
from dicom_mutations import is_another_good_file


def test_damaged_files_briefly(tmp_path: Path) -> None:
    outcome = fuzzing.run(150, seed=7, folder=tmp_path, itk_too=False)
    assert outcome.failures == []
    assert outcome.images > 15 and outcome.refused > 15
    assert outcome.peak < fuzzing.GIB


def test_contradicting_files_briefly(tmp_path: Path) -> None:
    """Each ends in the good file's pixels, in others with a note, or in one sentence."""
    outcome = fuzzing.run_structured(300, seed=3, folder=tmp_path)
    assert outcome.failures == []
    assert outcome.same > 60 and outcome.noted > 10 and outcome.refused > 60
    assert outcome.peak < fuzzing.GIB


def test_other_pixels_without_a_note_are_a_failure() -> None:
    good = np.zeros((1, 1, 4, 4), np.float32)
    assert fuzzing._compared(good, [], good, set()) == "same"
    assert fuzzing._compared(good + 1, ["old", "new"], good, {"old"}) == "noted"
    assert fuzzing._compared(good + 1, ["old"], good, {"old"}).startswith("failure")
    assert fuzzing._compared(good[:, :, :2], [], good, set()).startswith("failure")


def test_changes_that_cancel_out_make_no_contradiction() -> None:
    """Twice the columns of half the bits are as many bytes: no reader could tell that they were not meant."""

    def grey(**changed: int) -> pydicom.Dataset:
        made = made_files.dataset(np.zeros((4, 6), int), modality="MR", allocated=16, stored=8)
        made.update(changed)
        return made

    assert not is_another_good_file(grey(), grey())
    assert not is_another_good_file(grey(Columns=12), grey())
    assert not is_another_good_file(grey(Columns=12, BitsAllocated=8, HighBit=3), grey())
    assert is_another_good_file(grey(Columns=12, BitsAllocated=8), grey())
    assert is_another_good_file(grey(Columns=3, NumberOfFrames=2), grey())


@pytest.mark.slow
def test_damaged_files_at_length(tmp_path: Path) -> None:
    assert fuzzing.run(2000, seed=0, folder=tmp_path).failures == []


def test_a_dying_reader_is_seen(tmp_path: Path) -> None:
    """The check itself works: a worker that dies counts as a failure and is replaced."""
    reader = fuzzing._Reader(itk_too=False)
    assert reader.ask(tmp_path / "absent.png")[0] == "refused"
    assert reader.process is not None
    reader.process.kill()
    reader.process.join()
    assert "died" in reader.ask(tmp_path / "absent.png")[0]
    assert reader.ask(tmp_path / "absent.png")[0] == "refused"
    reader.close()


def test_the_memory_of_the_tests_is_not_counted_as_the_readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test process past the limit must not make each reader look so, and be replaced at every file."""
    monkeypatch.setattr(fuzzing, "GIB", 0.5)
    ballast = np.ones(int(fuzzing.GIB * 2**30), np.uint8)
    reader = fuzzing._Reader(itk_too=False)
    answer, _, peak = reader.ask(tmp_path / "absent.png")
    reader.close()
    assert (answer, ballast[-1]) == ("refused", 1) and peak < fuzzing.GIB


def test_a_reader_that_computes_too_long_is_seen(tmp_path: Path) -> None:
    """By its own processor time, whatever else the machine does."""
    reader = fuzzing._Reader(itk_too=False)
    assert reader.ask(tmp_path / "absent.png")[0] == "refused"
    assert reader.process is not None
    os.kill(reader.process.pid, signal.SIGPROF)  # as the system does when its time is up
    reader.process.join()
    assert reader.ask(tmp_path / "absent.png")[0] == "failure: took over 10 s"
    assert reader.ask(tmp_path / "absent.png")[0] == "refused"
    reader.close()
