"""Kills and signals: a run that is stopped at any moment goes on as if nothing had happened."""

from __future__ import annotations

import json
import logging
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from interrupted_run import PER_EPOCH, run_until, signal_when
from small_run import final_state, make_run, run_to_end

from child_process import Child
from nested import assert_equal
from scripts.training import read_checkpoint
from scripts.training.checkpoint_files import checkpoint_files


def _wait_for_progress(child: Child, folder: Path, before: list[Path]) -> None:
    deadline = time.monotonic() + 60
    while checkpoint_files(folder)[:1] == before[:1] and child.running() and time.monotonic() < deadline:
        time.sleep(0.005)


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_kill_9_at_random_moments_changes_nothing(tmp_path: Path, kills: int) -> None:
    options = {"epochs": 2 * kills, "pause": 0.01}
    cut, chance = tmp_path / "cut", random.Random(kills)
    reached = []
    for _ in range(kills):
        child = Child(cut, run_to_end, cut, options)
        _wait_for_progress(child, cut, checkpoint_files(cut))
        time.sleep(chance.uniform(0, 0.1))
        assert child.end(signal.SIGKILL) == -signal.SIGKILL  # it was still running
        reached.append(checkpoint_files(cut)[0].name)
    assert len(set(reached)) == kills
    assert reached == sorted(reached)
    for folder in (cut, tmp_path / "whole"):
        child = Child(folder, run_to_end, folder, {**options, "pause": 0.0})
        assert child.end() == 0, child.log.read_text()
    whole, resumed = (torch.load(tmp_path / name / "final.pt", weights_only=False) for name in ("whole", "cut"))
    assert_equal(whole, resumed)


def test_sigterm_saves_and_exits_cleanly(tmp_path: Path) -> None:
    child = Child(tmp_path, run_to_end, tmp_path, {"epochs": 100, "pause": 0.02, "save_every": 0})
    _wait_for_progress(child, tmp_path, [])
    time.sleep(0.05)
    code, output = child.end(signal.SIGTERM), child.log.read_text()
    assert code == 0, output
    assert "Traceback" not in output
    saved = read_checkpoint(checkpoint_files(tmp_path)[0])["engine"]["iteration"]
    assert f"SIGTERM: saved {tmp_path}/checkpoint_{saved:08d}.pt" in output
    resumed = make_run(tmp_path, epochs=100)
    resumed.checkpoints._resume(resumed)
    assert resumed.state.iteration == saved


def _stopped_during_validation(folder: Path, epoch: int, batch: int, **options: Any) -> dict[str, Any]:
    """Run until a signal comes with validation batch ``batch`` of ``epoch``; returns the checkpoint."""
    trainer = make_run(folder, **options)
    validated = []
    trainer.evaluator.add_event_handler(Events.COMPLETED, lambda evaluator: validated.append(evaluator.state.epoch))
    signal_when(trainer.evaluator, Events.ITERATION_STARTED, batch, epoch)
    trainer.run()
    assert epoch not in validated and trainer.state.epoch == epoch
    assert [entry["epoch"] for entry in trainer.history.epochs] == list(range(1, epoch))
    return read_checkpoint(checkpoint_files(folder)[0])


@pytest.mark.parametrize(
    ("epoch", "options"),
    [
        (2, {}),
        (4, {}),  # the last one
        (2, {"save_every": 0}),
        (3, {"save_every": 0, "epochs": 3}),
        (1, {"accumulation": 2, "workers": 2}),
        (3, {"learning_rate": 1e-9, "max_norm": 0.0, "patience": 2, "epochs": 12}),  # the one that stops early
    ],
)
def test_a_signal_during_validation_ends_it_and_the_resumed_run_begins_with_it(
    tmp_path: Path, epoch: int, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    whole, cut = make_run(tmp_path / "whole", **options), tmp_path / "cut"
    whole.run()
    with caplog.at_level(logging.WARNING):
        state = _stopped_during_validation(cut, epoch, 3, **options)
    place = {"iteration": epoch * PER_EPOCH, "epoch": epoch, "epoch_length": PER_EPOCH}
    assert state["engine"] == {**place, "awaits_validation": True}
    assert f"SIGTERM: saved {checkpoint_files(cut)[0]}" in caplog.text
    again = make_run(cut, **options)  # stopped there a second time, in another batch
    signal_when(again.evaluator, Events.ITERATION_COMPLETED, 1)
    again.run()
    assert read_checkpoint(checkpoint_files(cut)[0])["engine"] == state["engine"]
    torch.manual_seed(99)
    resumed = make_run(cut, **options)
    resumed.run()
    assert_equal(final_state(whole), final_state(resumed))
    assert not read_checkpoint(checkpoint_files(cut)[0])["engine"]["awaits_validation"]
    models = [{path.name for path in folder.glob("model*.pt")} for folder in (tmp_path / "whole", cut)]
    assert models[0] == models[1]
    assert json.loads((cut / "history.json").read_text())["epochs"] == resumed.history.epochs


def test_a_signal_in_the_last_step_of_an_epoch_does_not_wait_for_the_validation(tmp_path: Path) -> None:
    whole = make_run(tmp_path / "whole")
    whole.run()
    trainer = make_run(tmp_path / "cut")
    signal_when(trainer, Events.ITERATION_STARTED, 2 * PER_EPOCH)
    trainer.run()
    assert trainer.evaluator.state.epoch == 1
    resumed = make_run(tmp_path / "cut")
    resumed.run()
    assert_equal(final_state(whole), final_state(resumed))


def test_metrics_of_the_training_are_not_lost_to_a_signal(tmp_path: Path) -> None:
    """They are sums over the epoch that no checkpoint holds: the validation goes to its end first."""
    trainer = make_run(tmp_path, train_metric=True)
    signal_when(trainer, Events.ITERATION_STARTED, PER_EPOCH)
    trainer.run()
    assert [sorted(entry) for entry in trainer.history.epochs] == [
        sorted(["epoch", "iteration", "loss", "gradient_norm", "general_itc", "general_itg", "validation_loss"])
    ]
    assert not read_checkpoint(checkpoint_files(tmp_path)[0])["engine"]["awaits_validation"]


def test_signal_handlers_are_put_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    make_run(tmp_path / "a", epochs=1).run()
    assert signal.getsignal(signal.SIGTERM) is before
    run_until(tmp_path / "b", 3)
    assert signal.getsignal(signal.SIGTERM) is before
