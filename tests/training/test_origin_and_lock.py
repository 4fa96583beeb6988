"""A run's folder has one writer; a checkpoint knows what it learned from."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from small_run import final_state, make_items, make_run, run_to_end
from test_checkpoints import PER_EPOCH, run_until

from child_process import Child
from nested import assert_equal
from scripts import folder_lock
from scripts.errors import InputError
from scripts.folder_lock import FolderLock
from scripts.training.checkpoint_files import checkpoint_files, read_checkpoint
from scripts.training.run_origin import command_line_settings, data_origin


def _wait_for(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.01)


def test_a_second_run_in_a_folder_is_refused_until_the_first_is_dead(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    first = Child(tmp_path / "log", run_to_end, folder, {"pause": 0.2})
    _wait_for(folder / "checkpoint_00000002.pt")
    second = make_run(folder)
    with pytest.raises(InputError, match=rf"is being written by process {first.pid} on .*give another output_dir"):
        second.run()
    first.end(signal.SIGKILL)
    resumed = make_run(folder)
    resumed.run()  # the owner is dead: the lock is free
    whole = make_run(tmp_path / "whole")
    whole.run()
    assert_equal(final_state(whole), final_state(resumed))
    assert not (folder / ".training.lock").exists()


def test_a_dead_run_whose_workers_still_live_holds_nothing(tmp_path: Path) -> None:
    def with_worker() -> None:
        FolderLock(tmp_path, "training").acquire()
        if os.fork() == 0:  # as a DataLoader's worker
            time.sleep(20)
            os._exit(0)
        (tmp_path / "ready").touch()
        time.sleep(60)

    owner = Child(tmp_path / "log", with_worker)
    _wait_for(tmp_path / "ready")
    lock = FolderLock(tmp_path, "training")
    with pytest.raises(InputError, match=f"process {owner.pid}"):
        lock.acquire()
    owner.end(signal.SIGKILL)
    lock.acquire()
    lock.acquire()  # what a process holds it may take again
    lock.release()


@pytest.mark.parametrize(("host", "pid", "free"), [("here", 2**22 + 1, True), ("here", 1, False), ("far", 5, False)])
def test_without_locks_of_the_file_system_the_owner_named_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, pid: int, free: bool
) -> None:
    import fcntl

    host = socket.gethostname() if host == "here" else host

    def cannot(*_: Any) -> None:
        raise OSError(folder_lock._CANNOT_LOCK[0], "no locks available")

    monkeypatch.setattr(fcntl, "lockf", cannot)
    (tmp_path / ".training.lock").write_text(json.dumps({"host": host, "pid": pid, "since": "noon"}))
    lock = FolderLock(tmp_path, "training")
    if free:
        lock.acquire()
        assert json.loads(lock.path.read_text())["pid"] == os.getpid()
        lock.release()
    else:
        with pytest.raises(InputError, match=f"process {pid} on {host}, since noon.*or delete"):
            lock.acquire()


def test_another_datalist_is_said_and_in_the_middle_of_an_epoch_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = [*make_items()[:-1], {"image": "/images/new.png", "number": 21}]
    run_until(tmp_path / "inside", 9)
    with pytest.raises(InputError, match="middle of an epoch.*other cases or captions.*set it to ''"):
        make_run(tmp_path / "inside", items=other).run()
    with pytest.raises(InputError, match="22 cases, this one has 18"):
        make_run(tmp_path / "inside", items=make_items(18)).run()
    make_run(tmp_path / "end", epochs=2).run()
    longer = make_run(tmp_path / "end", items=make_items(26))
    with caplog.at_level(logging.WARNING):
        longer.run()
    assert "goes on with changes: its datalist had 22 cases, this one has 26" in caplog.text


def test_other_settings_are_said_and_in_the_middle_of_an_epoch_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_until(tmp_path / "inside", 9, settings={"learning_rate": "0.02", "seed": "0"})
    with pytest.raises(InputError, match=r"learning_rate was 0\.02, is 0\.5"):
        make_run(tmp_path / "inside", settings={"learning_rate": "0.5", "seed": "0"}).run()
    end = tmp_path / "inside" / f"checkpoint_{PER_EPOCH:08d}.pt"
    assert end in checkpoint_files(tmp_path / "inside")
    resumed = make_run(tmp_path / "inside", settings={"learning_rate": "0.5", "seed": "0"}, resume=str(end))
    with caplog.at_level(logging.WARNING):
        resumed.run()
    assert "goes on with changes: learning_rate was 0.02, is 0.5" in caplog.text


def test_a_moved_data_set_is_the_same_one(tmp_path: Path) -> None:
    def dataset(root: str, caption: str = "a\u2028b") -> Any:
        cases = [{"image": [f"{root}/x/1.png", f"{root}/y/2.png"], "caption": caption}]
        return type("Dataset", (), {"data": cases})()

    assert data_origin(dataset("/a")) == data_origin(dataset("/elsewhere/b"))
    assert data_origin(dataset("/a")) != data_origin(dataset("/a", "another"))
    assert data_origin(object()) is None


def test_settings_are_those_of_the_command_line(bundle_root: Path) -> None:
    config = str(bundle_root / "configs" / "train.json")
    command = ["run", "training", "--config_file", f"['{config}']", "--learning_rate", "0.001", "--output_dir", "x"]
    settings = command_line_settings(command)
    assert settings["learning_rate"] == "0.001" and settings["batch_size"] == "16"
    assert not {"output_dir", "epochs", "_desc_", "run", "device"} & set(settings)
    assert command_line_settings(["pytest"]) == {}


def test_a_checkpoint_holds_no_path_or_name_of_the_data(tmp_path: Path) -> None:
    items = [{**item, "image": f"/home/DOE^JANE/{item['number']:02d}.png"} for item in make_items()]
    make_run(tmp_path, epochs=1, items=items).run()
    file = checkpoint_files(tmp_path)[0]
    assert read_checkpoint(file)["origin"]["data"]["cases"] == len(items)
    assert b"DOE" not in file.read_bytes()
