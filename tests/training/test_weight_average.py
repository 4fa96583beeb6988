"""Moving averages of weights: the formula, what is validated and kept, and a killed run that goes on with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from small_run import make_run
from torch import Tensor

from scripts.errors import InputError
from scripts.training import WeightAverage, read_checkpoint


def averaged_run(folder: Path, *, decay: float = 0.9, **options: Any) -> tuple[Any, WeightAverage]:
    """A run as a config builds it; handlers are attached before it starts."""
    trainer = make_run(folder, **options)
    checkpoints = trainer.checkpoints
    average = WeightAverage(network=checkpoints.network, decay=decay, evaluator=checkpoints.evaluator)
    checkpoints.average = checkpoints.extras["average"] = average
    average.attach(trainer)
    return trainer, average


def trained(trainer: Any) -> dict[str, Tensor]:
    network = trainer.checkpoints.network
    return {name: p.detach().clone() for name, p in network.named_parameters() if p.requires_grad}


def test_the_average_is_the_formula_and_training_is_what_it_was(tmp_path: Path) -> None:
    plain = make_run(tmp_path / "plain", epochs=2)
    plain.run()
    trainer, average = averaged_run(tmp_path / "averaged", epochs=2)
    expected: dict[str, Tensor] = {}

    def follow(engine: Any) -> None:
        step = engine.state.iteration - 1
        decay = min(0.9, (1 + step) / (10 + step))
        for name, value in trained(trainer).items():
            expected[name] = value if step == 0 else decay * expected[name] + (1 - decay) * value

    trainer.add_event_handler(Events.ITERATION_COMPLETED, follow)
    trainer.run()
    for name, value in trained(trainer).items():
        assert torch.equal(value, trained(plain)[name]), name
        torch.testing.assert_close(average.averages[name], expected[name])
        assert not torch.equal(average.averages[name], value), name


def test_averages_are_validated_and_kept(tmp_path: Path) -> None:
    trainer, average = averaged_run(tmp_path, epochs=1)
    seen: list[dict[str, Tensor]] = []
    evaluator = trainer.checkpoints.evaluator
    evaluator.add_event_handler(Events.EPOCH_STARTED, lambda _: seen.append(trained(trainer)))
    trainer.run()
    kept = torch.load(tmp_path / "model.pt", weights_only=True)
    for name, value in seen[0].items():
        torch.testing.assert_close(value, average.averages[name])
        torch.testing.assert_close(kept[name], average.averages[name])


def test_without_validation_the_last_model_is_the_average(tmp_path: Path) -> None:
    trainer, average = averaged_run(tmp_path, epochs=1, validate_every=5)
    trainer.run()
    kept = torch.load(tmp_path / "model.pt", weights_only=True)
    for name, value in kept.items():
        torch.testing.assert_close(value, average.averages[name].to(value.dtype), msg=name)


@pytest.mark.parametrize("when", ["in an epoch", "in a validation"])
def test_a_stopped_run_goes_on_with_its_averages(tmp_path: Path, when: str) -> None:
    whole, expected = averaged_run(tmp_path / "whole", epochs=3)
    whole.run()
    first, _ = averaged_run(tmp_path / "stopped", epochs=3)

    def stop(_: Any) -> None:
        first.checkpoints.signal.name = "SIGTERM"

    if when == "in an epoch":
        first.add_event_handler(Events.ITERATION_COMPLETED(once=3), stop)
    else:
        first.checkpoints.evaluator.add_event_handler(Events.ITERATION_COMPLETED(once=2), stop)
    monkeyed = first.checkpoints.signal
    monkeyed.received = lambda: getattr(monkeyed, "name", None)
    first.run()
    assert first.state.epoch < 3
    second, average = averaged_run(tmp_path / "stopped", epochs=3)
    second.run()
    for name, value in expected.averages.items():
        assert torch.equal(average.averages[name], value), name
    for name, value in trained(whole).items():
        assert torch.equal(trained(second)[name], value), name
    newest = read_checkpoint(sorted((tmp_path / "stopped").glob("checkpoint_*.pt"))[-1])
    assert all(torch.equal(newest["network"][name], value) for name, value in trained(whole).items())


def test_a_decay_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match=r"0\.998"):
        WeightAverage(network=torch.nn.Linear(2, 2), decay=1.0)
