"""A disk that fills up at any write: it is said, what was there stays whole, and the next run ends as ever."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cache_cases import ReadPicture, TinyEncoder, make_pictures
from pydicom.data import get_testdata_file
from small_run import final_state, make_run
from test_resumed_captions import captioning, files_of, run

from nested import assert_equal
from scripts.data import FeatureCache
from scripts.data.cache import feature_cache
from scripts.data.cache.cache_options import CacheOptions
from scripts.errors import InputError, sentence
from scripts.training.checkpoint_files import checkpoint_files, read_checkpoint

KIB = 1024
DISK = 6 * 2**20
PAGE = 4 * KIB


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of six MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounting.returncode:
        pytest.skip(f"no small disk can be made here ({mounting.stderr.strip()})")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@contextlib.contextmanager
def left_on(disk: Path, size: int) -> Iterator[None]:
    """Inside, the disk has no more than ``size`` bytes free."""
    filler = disk / "filler"
    with filler.open("wb") as file:
        file.write(bytes(max(0, shutil.disk_usage(disk).free - size)))
    yield
    filler.unlink()


def is_said(refused: Callable[[], object]) -> bool:
    """Whether it failed for want of space, with a sentence that says so."""
    try:
        refused()
    except (OSError, InputError) as error:
        assert "full" in str(sentence(error)) or "No space left" in str(sentence(error)), repr(error)
        return True
    return False


def test_captions(disk: Path, tmp_path: Path) -> None:
    images = []
    for number in range(4):
        images.append(tmp_path / f"patient{number}" / "ct.dcm")
        images[-1].parent.mkdir()
        shutil.copy(get_testdata_file("CT_small.dcm", download=False), images[-1])
    run(images, tmp_path / "whole", captioning(), seed=2)
    run(images, tmp_path / "earlier", captioning(), seed=1)
    output, said = disk / "out", []
    for left in (0, 3 * PAGE, 10 * PAGE, 16 * PAGE, 40 * PAGE, 200 * PAGE):
        shutil.copytree(tmp_path / "earlier", output)
        with left_on(disk, left):
            said.append(is_said(lambda: run(images, output, captioning(), seed=2)))
            written = (output / "captions.jsonl").read_bytes()
        if said[-1]:
            assert written == (tmp_path / "earlier" / "captions.jsonl").read_bytes()  # the last whole one
        for line in written.splitlines():
            assert json.loads(line)["caption"]
        run(images, output, captioning(), seed=2, resume="")
        assert files_of(output) == files_of(tmp_path / "whole")
        shutil.rmtree(output)
    assert any(said) and not all(said)


def test_a_cache(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_cache, "_SPARE_BYTES", -(2**30))  # the look ahead would refuse all of it
    items = make_pictures(tmp_path, 40)
    said = []
    for left in range(0, 12 * PAGE, PAGE):
        with left_on(disk, left):
            said.append(is_said(lambda: _cache(disk / "cache").build(items)))
        again = _cache(disk / "cache")
        again.build(items)
        assert again.verify(items) == 0 and not list(again.folder.glob(".*.tmp"))
        shutil.rmtree(disk / "cache")
    assert any(said) and not all(said)


def _cache(folder: Path) -> FeatureCache:
    return FeatureCache(CacheOptions(folder, encoders={"general": TinyEncoder()}, progress=False), ReadPicture())


def test_checkpoints(disk: Path, tmp_path: Path) -> None:
    whole = make_run(tmp_path / "whole", epochs=2)
    whole.run()
    said = []
    for left in (2 * PAGE, 8 * PAGE, 12 * PAGE, 20 * PAGE, 100 * PAGE):
        folder = disk / f"run{left}"
        folder.mkdir()
        (folder / "log.txt").touch()
        with left_on(disk, left):
            said.append(is_said(lambda folder=folder: make_run(folder, epochs=2).run()))
        for file in checkpoint_files(folder):
            read_checkpoint(file)
        resumed = make_run(folder, epochs=2)
        resumed.run()
        assert_equal(final_state(whole), final_state(resumed))
        shutil.rmtree(folder)
    assert any(said)


def test_the_sentence_names_file_and_remedy(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "captions.jsonl"))
    assert sentence(full) == (
        f"{tmp_path / 'captions.jsonl'} could not be written: the disk is full: free space, then run the same again"
    )
    assert sentence(OSError(errno.EIO, "broken")) is None
