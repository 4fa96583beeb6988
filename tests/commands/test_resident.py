"""The captioner that stays: work goes there and back, one at a time, for its own user only, and it ends by itself."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.commands import resident

WHAT = {"bundle": str(Path(resident.__file__).resolve().parents[2]), "config": ["inference.json"], "settings": {}}


@pytest.fixture
def short_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Paths of sockets are limited to some hundred bytes."""
    folder = Path(tempfile.mkdtemp(prefix="r"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    yield folder
    shutil.rmtree(folder)


def work(job: dict) -> int:
    """Prints to both streams, tells where it runs, and returns what the job says."""
    print(f"at {os.getcwd()} by {os.getpid()}")
    print("beware", file=sys.stderr)
    return job["code"]


SERVER = """
import sys
sys.path[:0] = [{bundle!r}, {here!r}]
from pathlib import Path
from test_resident import work
from scripts.commands.resident import serve
serve(Path({path!r}), {idle}, work)
"""


def command(path: Path, idle: float = 3.0) -> list[str]:
    program = SERVER.format(bundle=WHAT["bundle"], here=str(Path(__file__).parent), path=str(path), idle=idle)
    return [sys.executable, "-c", program]


def test_two_jobs_are_done_by_one_process_which_then_ends(
    short_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    path = resident.socket_path(WHAT)
    assert path is not None and path.parent.stat().st_mode & 0o777 == 0o700
    said = []
    for code in (0, 1):
        assert resident.ask(path, {"code": code}, command(path)) == code
        out, err = capfd.readouterr()
        assert err == "beware\n"
        said.append(out)
    assert said[0] == said[1] and said[0].startswith(f"at {tmp_path} by ")
    assert int(said[0].split()[-1]) != os.getpid()
    with path.with_suffix(".server").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # waits for its end
    assert not path.exists()


def test_who_finds_it_busy_works_by_himself(short_folder: Path) -> None:
    path = resident.socket_path(WHAT)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert resident.ask(path, {"code": 0}, ["false"]) is None


def test_one_that_cannot_start_or_dies_is_no_answer(short_folder: Path, capfd: pytest.CaptureFixture) -> None:
    path = resident.socket_path(WHAT)
    assert resident.ask(path, {"code": 0}, [sys.executable, "-c", "raise SystemExit(3)"]) is None
    assert resident.ask(path, {}, command(path)) is None or "ended" in capfd.readouterr().err  # its work raises


def test_a_folder_that_others_may_enter_is_not_used(short_folder: Path) -> None:
    resident.socket_path(WHAT).parent.chmod(0o755)
    assert resident.socket_path(WHAT) is None


def test_everything_that_captions_depend_on_is_in_the_name(
    short_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "model.pt"
    weights.write_bytes(b"one")
    named = {**WHAT, "settings": {"weights": str(weights)}}
    paths = [resident.socket_path(WHAT), resident.socket_path(named)]
    weights.write_bytes(b"another")
    paths.append(resident.socket_path(named))
    paths.append(resident.socket_path({**WHAT, "settings": {"num_beams": 1}}))
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    paths.append(resident.socket_path(WHAT))
    assert len(set(paths)) == len(paths)
    assert resident.socket_path(WHAT) == paths[-1]


def test_a_job_of_another_user_is_not_done(short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = resident.socket_path(WHAT)
    context = multiprocessing.get_context("fork")
    done = context.Value("i", 0)

    def listen() -> None:
        resident._is_mine = lambda link: False  # what SO_PEERCRED says of another user's process
        resident.serve(path, 2.0, lambda job: setattr(done, "value", 1) or 0)

    server = context.Process(target=listen)
    server.start()
    while not path.exists():
        assert server.is_alive()
    assert resident.ask(path, {"code": 0}, ["false"]) is None
    server.join()
    assert done.value == 0 and server.exitcode == 0


def test_what_readers_keep_of_files_is_forgotten(tmp_path: Path) -> None:
    from scripts.commands.samples import write_samples
    from scripts.reading.dicom import headers

    headers.header_of(str(write_samples(tmp_path)[0]))
    assert headers._header.cache_info().currsize > 0
    resident._forget()
    assert headers._header.cache_info().currsize == 0


def test_replies_are_lines_of_json(tmp_path: Path) -> None:
    with (tmp_path / "replies").open("w") as stream:
        print("a", "b", file=resident._Back(stream, "out"))
    replies = [json.loads(line) for line in (tmp_path / "replies").read_text().splitlines()]
    assert "".join(reply["text"] for reply in replies) == "a b\n" and {reply["to"] for reply in replies} == {"out"}
