"""Reviewed captions survive kills, full disks and damaged files; what was acknowledged is never lost."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import time
from pathlib import Path
from typing import IO, Any

import pytest
from label_server import missing_label_server

from child_process import Child

if missing_label_server() is not None:
    pytest.skip(str(missing_label_server()), allow_module_level=True)

from lib.local_store import LocalCaptionStore  # noqa: E402

from scripts import atomic  # noqa: E402
from scripts.errors import InputError  # noqa: E402

IMAGES = 6


def _store(folder: Path) -> LocalCaptionStore:
    return LocalCaptionStore(folder, auto_reload=False)


def _studies(folder: Path) -> Path:
    for number in range(IMAGES):
        (folder / f"p{number}.png").write_bytes(b"picture %d" % number)
    return folder


def _save(store: LocalCaptionStore, image: str, caption: str, folder: Path) -> None:
    given = folder / f".given_{os.getpid()}.json"
    given.write_text(json.dumps({"caption": caption}), encoding="utf-8")
    store.save_label(image, str(given), "caption", {"said": caption})


def _text(number: int) -> str:
    return f"caption {number} " + "with many words " * (number % 40)


def _save_on_and_on(studies: Path, acknowledged: Path, first: int) -> None:
    store = _store(studies)
    told = os.open(acknowledged, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for number in range(first, first + 100_000):
        _save(store, f"p{number % IMAGES}", _text(number), studies.parent)
        os.write(told, f"{number}\n".encode())


def _check(studies: Path, acknowledged: Path) -> int:
    """Each image has its last acknowledged caption, or the one that was being saved; returns the next number."""
    numbers = [int(line) for line in acknowledged.read_text().splitlines()] if acknowledged.exists() else []
    last = {f"p{number % IMAGES}": number for number in numbers}
    under_way = max(numbers, default=-1) + 1
    store = _store(studies)
    for image, number in last.items():
        kept = store.caption_of(image)
        assert kept is not None and kept["status"] == "reviewed", f"{image}: caption {number} is lost"
        allowed = {" ".join(_text(number).split())}
        if image == f"p{under_way % IMAGES}":
            allowed.add(" ".join(_text(under_way).split()))
        assert kept["caption"] in allowed
        assert store.get_label_info(image, "caption")["caption"] == kept["caption"]
    json.loads((studies / "datastore_v2.json").read_text(encoding="utf-8"))
    assert not list((studies / ".msmedcap").glob(".*.tmp")), "what the killed save left is still there"
    assert not list(studies.rglob("*.damaged"))
    return under_way


@pytest.mark.parametrize("kills", [20, pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_kills_while_captions_are_saved_lose_none(tmp_path: Path, kills: int) -> None:
    studies = tmp_path / "studies"
    studies.mkdir()
    _studies(studies)
    acknowledged, clock, number = tmp_path / "acknowledged", random.Random(0), 0
    _check(studies, acknowledged)
    for _ in range(kills):
        child = Child(tmp_path / "log", _save_on_and_on, studies, acknowledged, number)
        end = time.monotonic() + 30
        while time.monotonic() < end and child.running() and _last(acknowledged) < number:
            time.sleep(0.001)
        time.sleep(clock.uniform(0, 0.03))
        assert child.running(), child.log.read_text()
        assert child.end(signal.SIGKILL) == -signal.SIGKILL
        child.log.unlink()
        saved, number = number, _check(studies, acknowledged)
        assert number > saved
    assert number >= kills


def _last(acknowledged: Path) -> int:
    lines = acknowledged.read_text().split() if acknowledged.exists() else []
    return int(lines[-1]) if lines else -1


@pytest.mark.parametrize("at_write", range(2))
@pytest.mark.parametrize("after", [0, 10])
def test_a_full_disk_at_any_write_of_a_save_damages_nothing(
    tmp_path: Path, at_write: int, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = _store(_studies(tmp_path))
    _save(store, "p0", "the first", tmp_path)
    written, real = [], atomic.write_atomically

    def full(path: Path, write: Any, **more: Any) -> Path:
        def partly(file: IO[bytes]) -> None:
            file.write(b"{" * after)
            raise OSError(errno.ENOSPC, "No space left on device")

        written.append(path)
        return real(path, partly if len(written) == at_write + 1 else write, **more)

    monkeypatch.setattr(atomic, "write_atomically", full)
    with pytest.raises(OSError, match="No space left"):
        _save(store, "p0", "the second", tmp_path)
    assert len(written) == at_write + 1
    monkeypatch.undo()
    again = _store(tmp_path)
    assert again.caption_of("p0")["caption"] == ("the first", "the second")[at_write]  # a caption is whole in any case
    assert again.get_label_info("p0", "caption")["caption"] == again.caption_of("p0")["caption"]
    _save(again, "p0", "the third", tmp_path)
    assert _store(tmp_path).caption_of("p0")["caption"] == "the third"


def test_a_damaged_record_is_made_again_from_the_captions(tmp_path: Path) -> None:
    store = _store(_studies(tmp_path))
    for number in range(IMAGES):
        _save(store, f"p{number}", f"caption {number}", tmp_path)
    record = tmp_path / "datastore_v2.json"
    record.write_bytes(record.read_bytes()[:200])
    again = _store(tmp_path)
    assert [again.caption_of(f"p{n}")["caption"] for n in range(IMAGES)] == [f"caption {n}" for n in range(IMAGES)]
    assert again.get_label_info("p3", "caption")["status"] == "reviewed"
    assert len(list(tmp_path.glob("datastore_v2.json.*.damaged"))) == 1


def test_what_is_left_of_a_damaged_caption_is_kept_aside(tmp_path: Path) -> None:
    _save(_store(_studies(tmp_path)), "p0", "by a person", tmp_path)
    label = tmp_path / "labels" / "caption" / "p0.json"
    label.write_bytes(label.read_bytes()[:30])
    store = _store(tmp_path)
    _save(store, "p0", "anew", tmp_path)
    assert store.caption_of("p0")["caption"] == "anew"
    [aside] = label.parent.glob("p0.json.*.damaged")
    assert aside.read_bytes().startswith(b"{") and len(aside.read_bytes()) == 30


def test_leftovers_of_earlier_versions_are_swept(tmp_path: Path) -> None:
    store = _store(_studies(tmp_path))
    leftovers = [".msmedcap/.p0.json.77.88.tmp", ".msmedcap/label.77.json", "datastore_v2.json.77.tmp"]
    own = [".msmedcap/mine.json", "notes.tmp", ".notes.tmp"]
    for name in (*leftovers, *own):
        (tmp_path / name).write_text("half")
    assert store.list_images() and (tmp_path / leftovers[0]).exists()
    _store(tmp_path)
    assert [name for name in leftovers if (tmp_path / name).exists()] == []
    assert [name for name in own if (tmp_path / name).exists()] == own


@pytest.mark.parametrize("caption", ["half \ud83d of a smile", "x\ud800"])
def test_half_characters_are_refused_and_whole_ones_kept(tmp_path: Path, caption: str) -> None:
    store = _store(_studies(tmp_path))
    with pytest.raises(InputError, match="half of a character"):
        _save(store, "p0", caption, tmp_path)
    kept = 'a "quoted" 😀 \\ back, {braces}, \u200f and é'
    _save(store, "p0", kept, tmp_path)
    assert _store(tmp_path).caption_of("p0")["caption"] == kept


@pytest.mark.parametrize("info", [["a list"], {"n": "x" * 100_001}, json.loads('{"a":' * 300 + "1" + "}" * 300)])
def test_what_the_record_cannot_hold_is_refused(tmp_path: Path, info: Any) -> None:
    store = _store(_studies(tmp_path))
    with pytest.raises(InputError, match="info"):
        store.update_image_info("p0", info)
    assert _store(tmp_path).list_images() == store.list_images()
