"""Checkpoints: an interrupted run ends exactly as an uninterrupted one, and nothing is ever lost."""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from interrupted_run import PER_EPOCH, run_until, signal_when
from small_run import SmallNetwork, final_state, make_run

from nested import assert_equal
from scripts.errors import InputError
from scripts.training import Checkpoints, higher_is_better, lower_is_better, read_checkpoint
from scripts.training.checkpoint_files import checkpoint_files


@pytest.mark.parametrize(
    ("stops", "options"),
    [
        ((3,), {}),
        ((8, 13), {}),
        ((6, 11), {"save_every": 0}),
        ((7,), {"workers": 2}),
        ((5, 12), {"accumulation": 2}),
        ((9,), {"amp_dtype": "bfloat16"}),
    ],
)
def test_resumed_run_equals_uninterrupted_run(tmp_path: Path, stops: tuple[int, ...], options: dict[str, Any]) -> None:
    whole = make_run(tmp_path / "whole", **options)
    whole.run()
    for stop in stops:
        run_until(tmp_path / "cut", stop, **options)
    torch.manual_seed(99)  # a new process starts elsewhere
    resumed = make_run(tmp_path / "cut", **options)
    torch.rand(3)
    resumed.run()
    assert resumed.state.iteration == 4 * PER_EPOCH
    assert_equal(final_state(whole), final_state(resumed))
    assert sorted(p.name for p in (tmp_path / "whole").glob("*.pt")) == sorted(
        p.name for p in (tmp_path / "cut").glob("*.pt")
    )


def test_the_check_itself_can_fail(tmp_path: Path) -> None:
    """Without restoring the random state or the place in the data, the comparison above does find a difference."""
    whole = make_run(tmp_path / "whole")
    whole.run()
    run_until(tmp_path / "cut", 8)
    resumed = make_run(tmp_path / "cut")
    resumed.checkpoints._restore_random_state = lambda: None
    resumed.run()
    with pytest.raises(AssertionError):
        assert_equal(final_state(whole), final_state(resumed))


def test_only_trained_parameters_are_stored(tmp_path: Path) -> None:
    make_run(tmp_path, epochs=1).run()
    state = read_checkpoint(checkpoint_files(tmp_path)[0])
    expected = {name for name in SmallNetwork().state_dict() if not name.startswith("encoder.")}
    assert "counting.calls" in expected
    assert set(state["network"]) == expected
    weights = set(torch.load(tmp_path / "model.pt", weights_only=True))
    assert expected - {"counting.calls"} <= weights <= expected  # counters are of no use outside the run


def test_newest_and_best_are_kept_and_the_best_is_model_pt(tmp_path: Path) -> None:
    trainer = make_run(tmp_path, epochs=4, keep_best=2, keep_last=2)
    trainer.run()
    assert [path.name for path in checkpoint_files(tmp_path)] == ["checkpoint_00000020.pt", "checkpoint_00000019.pt"]
    losses = {epoch["epoch"]: epoch["validation_loss"] for epoch in trainer.history.epochs}
    best = sorted(losses, key=losses.get)[:2]
    assert [entry[1] for entry in trainer.checkpoints.best.entries] == best
    files = sorted(tmp_path.glob("model_epoch=*.pt"))
    assert [int(file.name[12:15]) for file in files] == sorted(best)
    first = torch.load(tmp_path / trainer.checkpoints.best.entries[0][2], weights_only=True)
    assert_equal(first, torch.load(tmp_path / "model.pt", weights_only=True))


def test_a_worse_epoch_after_resume_does_not_replace_the_best(tmp_path: Path) -> None:
    make_run(tmp_path, epochs=3).run()
    best = torch.load(tmp_path / "model.pt", weights_only=True)
    metric = make_run(tmp_path, epochs=3).evaluator
    resumed = make_run(tmp_path, epochs=4, learning_rate=5.0, max_norm=0.0)  # ruins the network
    resumed.run()
    assert resumed.history.epochs[-1]["validation_loss"] > resumed.evaluator.state.best_metric
    assert metric.state.best_metric_epoch == -1  # a fresh evaluator knows nothing: it was restored
    assert_equal(best, torch.load(tmp_path / "model.pt", weights_only=True))


def test_a_metric_that_is_no_number_is_worse_than_any(tmp_path: Path) -> None:
    """The first validation is NaN, to which no comparison says better: later numbers must take its place."""
    trainer = make_run(tmp_path, epochs=4, keep_best=4)
    evaluator, wrong = trainer.evaluator, {1: float("nan"), 3: float("-inf")}
    evaluator.metric_cmp_fn = lower_is_better
    key = evaluator.state.key_metric_name

    def spoil(engine: Any) -> None:
        engine.state.metrics[key] = wrong.get(engine.state.epoch, engine.state.metrics[key])

    evaluator._event_handlers[Events.EPOCH_COMPLETED].insert(1, (spoil, (evaluator,), {}))  # after it is computed
    trainer.run()
    kept = [entry[1] for entry in trainer.checkpoints.best.entries]
    assert set(kept[:2]) == {2, 4} and set(kept[2:]) == {1, 3}
    assert evaluator.state.best_metric_epoch == kept[0]
    assert higher_is_better(0.1, float("nan")) and not higher_is_better(float("inf"), 0.1)


def test_a_finished_run_resumed_does_nothing_and_more_epochs_go_on(tmp_path: Path) -> None:
    make_run(tmp_path, epochs=2).run()
    before = torch.load(tmp_path / "model.pt", weights_only=True)
    again = make_run(tmp_path, epochs=2)
    again.run()
    assert again.state.iteration == 2 * PER_EPOCH
    assert_equal(before, torch.load(tmp_path / "model.pt", weights_only=True))
    longer = make_run(tmp_path, epochs=4)
    longer.run()
    assert [epoch["epoch"] for epoch in longer.history.epochs] == [1, 2, 3, 4]
    fresh = make_run(tmp_path / "fresh", epochs=4)
    fresh.run()
    rates = [[step["learning_rate"] for step in run.history.steps if step["epoch"] > 2] for run in (longer, fresh)]
    assert rates[0] == rates[1]  # the longer cosine, not a restart of the old one


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = make_run(tmp_path / "whole")
    whole.run()
    run_until(tmp_path / "cut", 10)
    newest, before = checkpoint_files(tmp_path / "cut")
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    resumed = make_run(tmp_path / "cut")
    with caplog.at_level(logging.INFO):
        resumed.run()
    assert f"checkpoint {newest} is damaged" in caplog.text
    assert f"resumed from {before}" in caplog.text
    assert_equal(final_state(whole), final_state(resumed))


def test_resume_by_path_and_what_it_refuses(tmp_path: Path) -> None:
    make_run(tmp_path / "a", epochs=2).run()
    source = checkpoint_files(tmp_path / "a")[0]
    trainer = make_run(tmp_path / "b", epochs=3, resume=str(source))
    trainer.run()
    assert [epoch["epoch"] for epoch in trainer.history.epochs] == [1, 2, 3]
    with pytest.raises(InputError, match="none.pt does not exist"):
        make_run(tmp_path / "c", resume=str(tmp_path / "none.pt")).run()
    with pytest.raises(InputError, match="not a checkpoint of a training run"):
        make_run(tmp_path / "c", resume=str(tmp_path / "a" / "model.pt")).run()


def test_empty_resume_starts_afresh_and_keeps_the_old_files_aside(tmp_path: Path) -> None:
    make_run(tmp_path, epochs=2).run()
    fresh = make_run(tmp_path, epochs=1, resume="")
    fresh.run()
    assert fresh.state.iteration == PER_EPOCH
    assert checkpoint_files(tmp_path)[0].name == "checkpoint_00000005.pt"
    (aside,) = tmp_path.glob("before_*")
    assert (aside / "checkpoint_00000010.pt").is_file()
    assert (aside / "model.pt").is_file()


def test_another_batch_count_restarts_the_epoch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run_until(tmp_path, 9)
    trainer = make_run(tmp_path, batch_size=5)  # 4 batches an epoch instead of 5
    with caplog.at_level(logging.WARNING):
        trainer.run()
    assert "number of batches has changed" in caplog.text
    assert trainer.state.iteration == 16


@pytest.mark.parametrize("change", [{"batch_size": 2}, {"batch_size": 8}, {"accumulation": 2}])
def test_a_resumed_run_with_other_steps_goes_on_at_the_same_part_of_the_schedule(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    make_run(tmp_path, epochs=2).run()
    resumed = make_run(tmp_path, epochs=4, **change)
    resumed.run()
    fresh = make_run(tmp_path / "fresh", epochs=4, **change)
    fresh.run()
    rates = [[step["learning_rate"] for step in run.history.steps if step["epoch"] > 2] for run in (resumed, fresh)]
    assert rates[0] == rates[1]


def test_weight_decay_of_the_configuration_counts_after_a_resume(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_run(tmp_path, epochs=1).run()
    resumed = make_run(tmp_path, epochs=2)
    resumed.optimizer.param_groups[0]["weight_decay"] = 0.5
    with caplog.at_level(logging.INFO):
        resumed.run()
    assert [group["weight_decay"] for group in resumed.optimizer.param_groups] == [0.5, 0.0]
    assert "{'weight_decay': 0.5}" in caplog.text


def test_a_run_that_went_back_keeps_its_own_checkpoints(tmp_path: Path) -> None:
    """With batches twice as large the iterations are half as many: those of before lie ahead and are newer by name."""
    make_run(tmp_path, epochs=3).run()
    assert checkpoint_files(tmp_path)[0].name == "checkpoint_00000015.pt"
    resumed = make_run(tmp_path, epochs=4, batch_size=8)  # 2 batches an epoch
    resumed.run()
    assert [path.name for path in checkpoint_files(tmp_path)] == ["checkpoint_00000008.pt"]
    (aside,) = tmp_path.glob("before_*")
    assert (aside / "checkpoint_00000015.pt").is_file()
    again = make_run(tmp_path, epochs=5, batch_size=8)
    again.run()
    assert again.state.iteration == 10
    assert [path.name for path in checkpoint_files(tmp_path)] == ["checkpoint_00000010.pt", "checkpoint_00000008.pt"]


@pytest.mark.parametrize(("every", "expected"), [(2, [3, 5, 8, 10]), (3, [3, 5, 8, 10]), (4, [5, 10])])
def test_a_due_save_waits_for_the_next_optimizer_step(tmp_path: Path, every: int, expected: list[int]) -> None:
    trainer = make_run(tmp_path, epochs=2, save_every=every, accumulation=3, keep_last=9)
    trainer.run()
    assert sorted(int(path.stem[-8:]) for path in checkpoint_files(tmp_path)) == expected


def test_a_run_that_never_validates_leaves_its_last_model(tmp_path: Path) -> None:
    trainer = make_run(tmp_path, epochs=2, validate_every=3)
    trainer.run()
    assert not trainer.checkpoints.best.entries
    saved = torch.load(tmp_path / "model.pt", weights_only=True)
    trained = trainer.network.state_dict()
    assert saved and all(torch.equal(value, trained[name]) for name, value in saved.items())


def _fill_the_disk(trainer: Any) -> None:
    """After the first epoch no file grows beyond 2 kB while checkpoints are written."""
    import resource

    save = trainer.checkpoints.save
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def save_on_a_full_disk(engine: Any, **options: Any) -> None:
        if engine.state.epoch > 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
        try:
            save(engine, **options)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    trainer.checkpoints.save = save_on_a_full_disk


def test_a_full_disk_is_reported_and_keeps_what_was_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer = make_run(tmp_path, epochs=3, save_every=0)
    _fill_the_disk(trainer)
    with caplog.at_level(logging.ERROR), pytest.raises(InputError, match="could not be written .* resume 'auto'"):
        trainer.run()
    assert "The newest one is still" in caplog.text
    assert trainer.state.iteration == 3 * PER_EPOCH  # the run itself went on
    assert [path.name for path in checkpoint_files(tmp_path)] == ["checkpoint_00000005.pt"]
    assert read_checkpoint(checkpoint_files(tmp_path)[0])["engine"]["iteration"] == PER_EPOCH
    assert not list(tmp_path.glob(".*.tmp"))
    whole, resumed = make_run(tmp_path / "whole", epochs=3, save_every=0), make_run(tmp_path, epochs=3, save_every=0)
    whole.run()
    resumed.run()
    assert_equal(final_state(whole), final_state(resumed))


@pytest.mark.parametrize("during_validation", [False, True])
def test_a_signal_on_a_full_disk_is_no_clean_end(tmp_path: Path, during_validation: bool) -> None:
    trainer = make_run(tmp_path, epochs=3, save_every=0)
    _fill_the_disk(trainer)
    if during_validation:
        signal_when(trainer.evaluator, Events.ITERATION_STARTED, 2, epoch=2)
    else:
        signal_when(trainer, Events.ITERATION_STARTED, PER_EPOCH + 2)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(InputError, match="SIGTERM: checkpoint .* could not be written .* resume 'auto'"):
        trainer.run()
    assert signal.getsignal(signal.SIGTERM) is before
    assert [path.name for path in checkpoint_files(tmp_path)] == ["checkpoint_00000005.pt"]


def test_leftovers_of_a_killed_save_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".checkpoint_00000002.pt.123.tmp").write_bytes(b"half")
    make_run(tmp_path, epochs=1).run()
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    make_run(tmp_path, epochs=1).run()
    other = make_run(tmp_path, epochs=2)
    other.checkpoints.network = torch.nn.Linear(2, 2)
    with pytest.raises(Exception, match="does not have"):
        other.run()


def test_a_checkpoint_of_other_trained_parameters_is_refused(tmp_path: Path) -> None:
    make_run(tmp_path, epochs=1).run()
    other = make_run(tmp_path, epochs=2)
    other.checkpoints.optimizer = torch.optim.SGD(other.network.head[0].parameters(), lr=1.0)
    with pytest.raises(InputError, match="other parameters were trained"):
        other.run()


def test_early_stopping_counts_across_a_resume(tmp_path: Path) -> None:
    options = {"epochs": 12, "learning_rate": 1e-9, "max_norm": 0.0, "patience": 3, "save_every": 0}
    whole = make_run(tmp_path / "whole", **options)
    whole.run()
    stopped = whole.state.epoch
    assert stopped < 12
    run_until(tmp_path / "cut", (stopped - 1) * PER_EPOCH + 1, **options)
    resumed = make_run(tmp_path / "cut", **options)
    resumed.run()
    assert resumed.state.epoch == stopped
    again = make_run(tmp_path / "cut", **options)
    again.run()
    assert again.state.iteration == stopped * PER_EPOCH  # stays stopped


def test_constructor_needs_no_trainer() -> None:
    """Configs name handlers inside the trainer; a handler that named the trainer would be a circle."""
    network = SmallNetwork()
    handler = Checkpoints(folder="x", network=network, optimizer=torch.optim.SGD(network.head.parameters(), lr=1.0))
    assert handler.evaluator is None
