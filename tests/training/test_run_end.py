"""What a person sees of a run: its last words, its curves, the table of loaded weights once."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from small_run import make_run
from torch import nn

from scripts.checkpoints import stages, start
from scripts.networks.branch import Branch
from scripts.networks.qformer import QFormer
from scripts.training import RunEnd
from scripts.training.curves import draw_curves
from scripts.training.run_end import next_commands

MODEL = Path("/runs/a folder/model.pt")


@pytest.mark.parametrize("validate_every", [1, 99])
def test_a_run_ends_with_its_model_and_the_next_command(
    validate_every: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["monai/bundle/__main__.py", "run", "training", "--config_file", "configs/pretrain.json"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--dataset_dir", "d"])
    trainer = make_run(tmp_path / "run", epochs=2, validate_every=validate_every)
    RunEnd(checkpoints=trainer.checkpoints, stage="pretrain").attach(trainer)
    trainer.run()
    model, following = capsys.readouterr().out.splitlines()[-2:]
    assert (tmp_path / "run" / "model.pt").is_file(), "it is said when it is written"
    if validate_every == 1:
        metric, epoch, _ = trainer.checkpoints.best.entries[0]
        assert model == f"model: run/model.pt (best of 2 epochs: epoch {epoch}, loss {metric:.4f})"
    else:
        assert model == "model: run/model.pt (the last of 2 epochs; no validation chose it)"
    assert following == (
        "next, stage 2: python -m monai.bundle run training --config_file configs/train.json --dataset_dir d "
        "--pretrained run/model.pt"
    )


def test_the_next_commands_keep_what_the_network_is() -> None:
    words = "run training --bundle_root=bundle --dataset_dir d --epochs 3 --config_file"
    files = "['b/train.json','b/branch_general.json','b/fine_tune.json','b/multi_gpu.json']"
    commands = dict(next_commands([*words.split(), files], "train", MODEL))
    assert commands["caption"] == (
        "python -m monai.bundle run --config_file \"['b/inference.json','b/branch_general.json']\" "
        "--bundle_root=bundle --dataset_dir IMAGES --weights '/runs/a folder/model.pt'"
    )
    configs = "['b/train.json','b/branch_general.json','b/evaluate.json']"
    assert configs in commands["score"] and "--dataset_dir d" in commands["score"]
    assert next_commands(["run"], "train", MODEL) == next_commands([*words.split(), files], "", MODEL) == []


def _records() -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    parts = {f"{branch}_{kind}": 1.0 for branch in ("general", "detail") for kind in ("itc", "itm", "itg")}
    steps = [{"iteration": 3, "loss": 6.0, "learning_rate": 1e-4, "gradient_norm": 2.0, **parts}]
    retrieval = {
        f"validation_{branch}_{name}": 0.5
        for branch in ("general", "detail")
        for name in ("i2t_recall@1", "t2i_recall@1", "itm_accuracy")
    }
    return steps, [{"iteration": 3, "epoch": 1, "validation_val_loss": 25.0, **retrieval}]


def test_retrieval_has_axes_of_its_own_and_single_points_are_seen() -> None:
    figure = draw_curves(*_records())
    axes = {axis.get_title(): axis for axis in figure.axes}
    assert set(axes) == {"loss in training", "validation", "retrieval in validation", "learning rate", "gradient norm"}
    assert [line.get_label() for line in axes["validation"].lines] == ["val_loss"]
    assert len(axes["retrieval in validation"].lines) == 6 and axes["retrieval in validation"].get_ylim()[1] < 1.1
    for axis in figure.axes:
        styles = [(line.get_color(), line.get_linestyle()) for line in axis.lines]
        assert len(set(styles)) == len(styles) > 0, "two lines look the same"
        assert all(line.get_marker() == "o" for line in axis.lines), "a line of one point is not seen"


def test_many_points_are_a_line() -> None:
    steps = [{"iteration": step, "loss": 1.0, "learning_rate": 1e-4} for step in (1, 2)]
    figure = draw_curves(steps, [])
    assert [axis.get_title() for axis in figure.axes] == ["loss in training", "learning rate"]
    assert all(line.get_marker() == "None" for axis in figure.axes for line in axis.lines)


def test_the_table_of_loaded_weights_comes_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def branch() -> Branch:
        encoder = nn.Linear(2, 2)
        encoder.width = 8
        return Branch(encoder=encoder, qformer=QFormer(encoder_width=8, width=8, layers=2, heads=2, intermediate=16))

    network = nn.Module()
    network.branches = nn.ModuleDict({"general": branch(), "detail": branch()})
    taken = branch().qformer.state_dict()
    monkeypatch.setattr(stages, "_text_encoder_state", lambda source: taken)
    monkeypatch.setattr(stages, "initialise_from_bert", lambda qformer, state, source: _report(source))
    start.start_branches(network, text_encoder="bert")
    shown = capsys.readouterr().out
    assert shown.count("weights from") == 1 and "for each of 2 branches" in shown
    assert max(map(len, shown.splitlines())) <= 80 and re.search(r"^  loaded +40 tensors$", shown, re.MULTILINE)


def _report(source: str) -> stages.LoadReport:
    names = [f"layers.{layer}.self_attention.{name}" for layer in range(10) for name in ("q", "k", "v", "o")]
    return stages.LoadReport(source=source, loaded=names, parameters=40)
