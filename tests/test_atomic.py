"""Atomic files: the old version or the new one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

import pytest

from scripts.atomic import remove_leftovers, write_atomically, write_text_atomically


def test_contents_are_on_disk_before_the_name_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append("fsync"), fsync(handle))[1])
    monkeypatch.setattr(os, "replace", lambda *names: (calls.append("replace"), replace(*names))[1])
    write_text_atomically(tmp_path / "new" / "a.json", "ä")
    assert (tmp_path / "new" / "a.json").read_text(encoding="utf-8") == "ä"
    assert calls == ["fsync", "replace", "fsync"]  # file, name, folder


@pytest.mark.parametrize("error", [OSError("no space"), RuntimeError("writer failed"), KeyboardInterrupt()])
def test_a_failing_write_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    path = write_text_atomically(tmp_path / "a.txt", "old")

    def fail(file: IO[bytes]) -> None:
        file.write(b"half of the n")
        raise error

    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else OSError):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_leftovers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".a.pt.77.tmp").write_bytes(b"half")
    (tmp_path / "a.pt").write_bytes(b"whole")
    remove_leftovers(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]
