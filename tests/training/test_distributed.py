"""Two processes (gloo) train as one: the same losses and metrics, exact resume, one cache."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from ignite.engine import Events
from small_run import final_state, make_run
from torch import nn

from child_process import Child
from nested import assert_equal
from scripts.distributed import parallel
from scripts.training.checkpoint_files import checkpoint_files, read_checkpoint

if not dist.is_available() or not dist.is_gloo_available():
    pytest.skip("this PyTorch has no gloo", allow_module_level=True)


def _in_group(function: Any, folder: Path, rank: int, world: int, options: dict[str, Any]) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world)
    try:
        function(folder, rank, options)
        dist.barrier()
    finally:
        dist.destroy_process_group()


def _together(function: Any, folder: Path, options: dict[str, Any]) -> list[Child]:
    folder.mkdir(exist_ok=True)
    (folder / "rendezvous").unlink(missing_ok=True)
    return [Child(folder, _in_group, function, folder, rank, 2, options) for rank in range(2)]


def _finish(children: list[Child]) -> None:
    codes = [child.end() for child in children]
    assert codes == [0, 0], "\n".join(child.log.read_text() for child in children)


def _train(folder: Path, rank: int, options: dict[str, Any]) -> None:
    trainer = make_run(folder / "run", **options)
    trainer.run()
    torch.save(final_state(trainer), folder / f"final_{rank}.pt")


def _final(folder: Path) -> list[dict[str, Any]]:
    return [torch.load(folder / f"final_{rank}.pt", weights_only=False) for rank in range(2)]


def test_two_processes_follow_the_losses_of_one(tmp_path: Path) -> None:
    options = {"plain": True, "epochs": 3, "max_norm": 0.5}
    one = make_run(tmp_path / "one", batch_size=8, **options)
    one.run()
    _finish(_together(_train, tmp_path / "two", {"batch_size": 4, **options}))
    expected, states = final_state(one), _final(tmp_path / "two")
    assert [len(state["steps"]) for state in states] == [len(expected["steps"])] * 2
    for state in states:
        for step, reference in zip(state["steps"], expected["steps"], strict=True):
            assert step == pytest.approx(reference, rel=1e-4)
        for epoch, reference in zip(state["epochs"], expected["epochs"], strict=True):
            assert epoch == pytest.approx(reference, rel=1e-4)  # validation metrics too, on both
        assert state["best"] == pytest.approx(expected["best"], rel=1e-4)
    for name, weights in states[0]["network"].items():
        assert torch.equal(weights, states[1]["network"][name])
    assert len(list((tmp_path / "two" / "run").glob("checkpoint_*.pt"))) == 2


def test_two_killed_processes_resume_exactly(tmp_path: Path) -> None:
    options = {"epochs": 3, "save_every": 1}
    _finish(_together(_train, tmp_path / "whole", options))
    children = _together(_train, tmp_path / "cut", {**options, "pause": 0.1})
    run = tmp_path / "cut" / "run"
    while len(list(run.glob("checkpoint_*.pt"))) < 2 and all(child.running() for child in children):
        pass
    for child in children:  # both before either is waited for: one that loses the other ends by itself
        os.kill(child.pid, signal.SIGKILL)
    assert [child.end() for child in children] == [-signal.SIGKILL] * 2
    _finish(_together(_train, tmp_path / "cut", options))
    for whole, cut in zip(_final(tmp_path / "whole"), _final(tmp_path / "cut"), strict=True):
        assert_equal(whole, cut)


def test_sigterm_to_one_process_stops_both_at_the_same_iteration(tmp_path: Path) -> None:
    children = _together(_train, tmp_path, {"epochs": 200, "pause": 0.02, "save_every": 1})
    while not list((tmp_path / "run").glob("checkpoint_*.pt")) and all(child.running() for child in children):
        pass
    codes = [children[1].end(signal.SIGTERM), children[0].end()]
    output = children[0].log.read_text()
    assert codes == [0, 0], output
    assert "a signal to another process: saved" in output
    states = _final(tmp_path)
    assert states[0]["steps"] == states[1]["steps"]


def _train_to_a_signal(folder: Path, rank: int, options: dict[str, Any]) -> None:
    told, batch = options.pop("told"), options.pop("batch")
    trainer = make_run(folder / "run", **options)

    def send(evaluator: Any) -> None:
        if (rank, evaluator.state.epoch, evaluator.state.iteration) == (told, 2, batch):
            os.kill(os.getpid(), signal.SIGTERM)

    trainer.evaluator.add_event_handler(Events.ITERATION_STARTED, send)
    trainer.run()
    assert trainer.state.epoch == 2


@pytest.mark.parametrize(("told", "batch", "validated"), [(1, 1, False), (1, 2, False), (0, 3, True)])
def test_a_signal_during_validation_stops_both_processes_and_the_resumed_run_is_exact(
    tmp_path: Path, told: int, batch: int, validated: bool
) -> None:
    """Of five cases the first process validates three, the other two: at the third there is nobody to agree with."""
    options = {"epochs": 3, "held_out": 5, "plain": True}  # without batch statistics, which each process has of its own
    _finish(_together(_train, tmp_path / "whole", options))
    _finish(_together(_train_to_a_signal, tmp_path / "cut", {**options, "told": told, "batch": batch}))
    stopped = read_checkpoint(checkpoint_files(tmp_path / "cut" / "run")[0])
    assert stopped["engine"]["epoch"] == 2 and stopped["engine"]["awaits_validation"] is not validated
    _finish(_together(_train, tmp_path / "cut", options))
    for whole, resumed in zip(_final(tmp_path / "whole"), _final(tmp_path / "cut"), strict=True):
        assert_equal(whole, resumed)


def _validate_after_a_step(folder: Path, rank: int, _: dict[str, Any]) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.BatchNorm1d(4).requires_grad_(False))
    network[2].running_mean += rank  # a frozen encoder's: each process has read its own
    wrapped = parallel(network)
    wrapped.train()(torch.randn(8, 3, generator=torch.Generator().manual_seed(rank))).sum().backward()
    with torch.no_grad():
        wrapped.eval()(torch.ones(2, 3))
    torch.save([module.running_mean.clone() for module in network[1:]], folder / f"{rank}.pt")


def test_batch_statistics_that_learn_are_those_of_the_first_process(tmp_path: Path) -> None:
    _finish(_together(_validate_after_a_step, tmp_path, {}))
    (learned, frozen), (learned_too, frozen_too) = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert torch.equal(learned, learned_too) and learned.abs().max() > 0.01
    assert not torch.equal(frozen, frozen_too)


def _build(folder: Path, rank: int, options: dict[str, Any]) -> None:
    from cache_cases import ReadPicture, two_encoders

    from scripts.data import CacheOptions, FeatureCache

    cache = FeatureCache(CacheOptions(folder / "cache", two_encoders(), progress=False), ReadPicture())
    report = cache.build(options["items"])
    torch.save(
        [report.encoded, cache.missing(options["items"]), cache.encoders["general"].calls], folder / f"{rank}.pt"
    )


def test_processes_share_the_building_of_a_cache(tmp_path: Path) -> None:
    from cache_cases import make_pictures

    (tmp_path / "pictures").mkdir()
    items = make_pictures(tmp_path / "pictures", 9)
    _finish(_together(_build, tmp_path, {"items": items}))
    reports = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    assert reports == [[9, 0, 5], [9, 0, 4]]  # both know all, each computed its half
