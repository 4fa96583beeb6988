"""Phases: which cases are drawn when, and which branches learn."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from ignite.engine import Engine

from scripts.data.phases import PhaseHandler, Phases, PhaseSampler
from scripts.errors import InputError


@pytest.fixture
def phases(tmp_path: Path) -> Phases:
    for name, count in (("general", 20), ("medical", 8)):
        folder = tmp_path / name
        folder.mkdir()
        entries = []
        for number in range(count):
            (folder / f"{number}.png").write_bytes(b"x")
            entries.append({"image": f"{number}.png", "caption": f"{name} {number}"})
        (folder / "datalist.json").write_text(json.dumps({"training": entries}))
    return Phases(
        [
            {
                "name": "general",
                "datalist": str(tmp_path / "general" / "datalist.json"),
                "epochs": 2,
                "branches": ["a"],
            },
            {"name": "skipped", "epochs": 0},
            {"name": "medical", "epochs": 3},
        ],
        datalist=str(tmp_path / "medical" / "datalist.json"),
        dataset_dir=str(tmp_path / "medical"),
    )


def drawn(phases: Phases, epoch: int, rank: int = 0, replicas: int = 1) -> list[str]:
    sampler = PhaseSampler(phases.items, phases=phases, seed=3, num_replicas=replicas, rank=rank)
    sampler.set_epoch(epoch + 1)  # MONAI's engines count from 1
    return [phases.items[index]["caption"] for index in sampler]


def test_general_pairs_first_medical_pairs_after(phases: Phases) -> None:
    assert phases.round_length == 8 and phases.rounds == [5, 3] and phases.epochs == 8
    general = [caption for epoch in range(5) for caption in drawn(phases, epoch)]
    assert set(Counter(general).values()) == {2} and len(set(general)) == 20  # exactly two passes
    for epoch in (5, 6, 7):
        captions = drawn(phases, epoch)
        assert sorted(captions) == sorted(f"medical {i}" for i in range(8))
    assert drawn(phases, 5) != drawn(phases, 6)
    assert drawn(phases, 5) == drawn(phases, 5)


def test_two_processes_share_what_one_draws(phases: Phases) -> None:
    whole = drawn(phases, 1)
    assert [drawn(phases, 1, 0, 2), drawn(phases, 1, 1, 2)] == [whole[0::2], whole[1::2]]


def test_the_handler_tells_which_branches_learn(phases: Phases) -> None:
    class Network:
        calls: list = []

        def learn(self, names: list[str] | None) -> None:
            self.calls.append(names)

    engine = Engine(lambda engine, batch: None)
    network = Network()
    PhaseHandler(phases, network).attach(engine)
    engine.run([0], max_epochs=phases.epochs)
    assert network.calls == [["a"], None]


def test_data_and_learning_branches_change_together_in_a_monai_engine(phases: Phases) -> None:
    import torch
    from monai.engines import SupervisedTrainer
    from torch.utils.data import DataLoader

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))
            self.learning, self.seen = None, []

        def learn(self, names: list[str] | None) -> None:
            self.learning = names

        def forward(self, captions: list[str]) -> torch.Tensor:
            self.seen.append((self.learning, {caption.split()[0] for caption in captions}))
            return self.weight.sum()

    network = Network()
    sampler = PhaseSampler(phases.items, phases=phases, num_replicas=1, rank=0)
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=phases.epochs,
        train_data_loader=DataLoader(phases.items, 4, sampler=sampler, collate_fn=lambda rows: rows),
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), 0.1),
        loss_function=lambda prediction, target: prediction,
        prepare_batch=lambda batch, *_, **__: ([row["caption"] for row in batch], None),
        train_handlers=[PhaseHandler(phases, network)],
        decollate=False,
    )
    trainer.run()
    assert network.seen[:10] == [(["a"], {"general"})] * 10
    assert network.seen[10:] == [(None, {"medical"})] * 6


def test_wrong_phases_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no phase"):
        Phases([{"name": "x", "epochs": 0}], datalist="d.json", dataset_dir=str(tmp_path))
    with pytest.raises(InputError, match="lasts"):
        Phases([{"name": "x", "epochs": 1, "lasts": 2}], datalist="d.json", dataset_dir=str(tmp_path))
