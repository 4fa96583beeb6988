"""Batches, precision, gradient guard, history, record and progress on a small run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from config_run import BUNDLE
from ignite.engine import Events
from monai.bundle import ConfigParser
from monai.engines import SupervisedTrainer
from small_run import make_items, make_run
from torch import nn

from scripts.command_line import named_configs
from scripts.errors import InputError
from scripts.kernels.precision import set_float32_precision
from scripts.networks.branch import token_names
from scripts.training import (
    AutocastInferer,
    GradientGuard,
    History,
    NonFiniteError,
    PrepareCase,
    RunRecord,
    loss_of,
    loss_parts,
    scales_loss,
)
from scripts.training import history as history_module
from scripts.training.progress import losses_in_words


def test_prepare_case_passes_what_is_there() -> None:
    batch = {"image": torch.zeros(1, 3, 2, 2), "input_ids": torch.ones(1, 4), "caption": ["x"], "image_path": ["p"]}
    network = nn.Module()
    network.batch_names = ("input_ids", *token_names(["general", "detail"]))
    image, target, args, kwargs = PrepareCase(network)(batch, "cpu")
    assert (image.shape, target, args) == ((1, 3, 2, 2), None, ())
    assert list(kwargs) == ["input_ids"]
    cached = {"general_tokens": torch.zeros(1, 2, 3), "detail_tokens_mask": torch.ones(1, 2)}
    image, _, _, kwargs = PrepareCase(network)(cached, "cpu")
    assert image is None
    assert set(kwargs) == set(cached)
    assert PrepareCase(network, without=("input_ids",))(batch, "cpu")[3] == {}


def test_loss_and_its_parts() -> None:
    result = {"loss": torch.tensor(2.0), "general_itc": torch.tensor(0.5), "tokens": torch.zeros(3)}
    assert loss_of(result) is result["loss"]
    assert set(loss_parts(result)) == {"loss", "general_itc"}
    assert loss_parts(torch.zeros(2)) == {}


class Watcher(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, image: torch.Tensor | None, tokens: torch.Tensor | None = None) -> torch.Tensor:
        return self.linear(image if image is not None else tokens)

    def generate(self, image: torch.Tensor | None) -> str:
        return "generated"


@pytest.mark.parametrize(
    ("dtype", "expected"), [("bfloat16", torch.bfloat16), ("float32", torch.float32), ("", torch.float32)]
)
def test_autocast_works_on_cpu_with_and_without_image(dtype: str, expected: torch.dtype) -> None:
    network, inferer = Watcher(), AutocastInferer(dtype)
    assert inferer(torch.zeros(1, 2), network).dtype == expected
    assert inferer(None, network, tokens=torch.zeros(1, 2)).dtype == expected
    assert AutocastInferer(dtype, method="generate")(None, network) == "generated"


def test_unknown_precisions_are_refused() -> None:
    with pytest.raises(InputError, match="amp_dtype must be"):
        AutocastInferer("half")
    with pytest.raises(InputError, match="exact or fast"):
        set_float32_precision("bf16")


def test_float32_switch_returns_what_was_set() -> None:
    try:
        assert set_float32_precision("fast") == "exact"
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        assert set_float32_precision("exact") == "fast"
    assert torch.get_float32_matmul_precision() == "highest"


def test_gradient_norm_and_clipping_match_a_hand_computation(tmp_path: Path) -> None:
    trainer = make_run(tmp_path, epochs=1, max_norm=0.5)
    seen: list[tuple[float, float]] = []

    class Spy:
        def __init__(self, moment: int) -> None:
            self.moment = moment

        def __call__(self, engine: Any) -> None:
            grads = [p.grad.flatten() for p in engine.network.parameters() if p.grad is not None]
            norms[self.moment] = torch.cat(grads).double().norm().item()
            if self.moment:
                seen.append((norms[0], norms[1]))
                assert engine.state.gradient_norm == pytest.approx(norms[0], rel=1e-5)

    from monai.engines.utils import IterationEvents

    norms = [0.0, 0.0]
    handlers = trainer._event_handlers[IterationEvents.BACKWARD_COMPLETED]
    trainer.add_event_handler(IterationEvents.BACKWARD_COMPLETED, Spy(0))
    handlers.insert(0, handlers.pop())  # before the guard
    trainer.add_event_handler(IterationEvents.BACKWARD_COMPLETED, Spy(1))
    trainer.run()
    assert any(before > 0.5 for before, _ in seen)
    for before, after in seen:
        assert after == pytest.approx(min(before, 0.5), rel=1e-4)


def test_accumulated_gradients_are_clipped_once_at_the_step(tmp_path: Path) -> None:
    trainer = make_run(tmp_path, epochs=1, max_norm=1e-9, accumulation=2)
    after: list[float] = []
    from monai.engines.utils import IterationEvents

    def look(engine: Any) -> None:
        after.append(max(p.grad.abs().max().item() for p in engine.network.parameters() if p.grad is not None))

    trainer.add_event_handler(IterationEvents.BACKWARD_COMPLETED, look)
    trainer.run()
    assert [value > 1e-8 for value in after] == [True, False, True, False, False]  # 5 batches: steps after 2, 4, 5


def test_a_non_finite_loss_stops_and_names_the_files(tmp_path: Path) -> None:
    items = make_items()
    items[9]["gain"] = float("nan")
    trainer = make_run(tmp_path, epochs=1, items=items)
    with pytest.raises(NonFiniteError) as stop:
        trainer.run()
    message = str(stop.value)
    assert "loss nan" in message
    assert "/images/09.png" in message
    assert message.count(".png") == 4  # this batch, no other
    assert all(torch.isfinite(p).all() for name, p in trainer.network.named_parameters())  # no step was taken with it


def test_an_exploding_gradient_stops_before_the_step(tmp_path: Path) -> None:
    trainer = make_run(tmp_path, epochs=1)
    trainer.network.head[3].weight.register_hook(lambda grad: grad * float("inf"))
    with pytest.raises(NonFiniteError, match="gradient norm (inf|nan)"):
        trainer.run()
    assert trainer.state.iteration == 1


def scaled_run(folder: Path, scale: float, **options: Any) -> SupervisedTrainer:
    """A run whose loss is multiplied by ``scale`` before the backward pass, as float16 needs it."""
    trainer = make_run(folder, plain=True, **options)
    trainer.amp = True  # MONAI makes a scaler for CUDA when a run begins; this one works on a CPU
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    trainer.add_event_handler(Events.STARTED, lambda engine: setattr(engine, "scaler", scaler))
    return trainer


def test_a_scaled_loss_changes_neither_norms_nor_steps(tmp_path: Path) -> None:
    norms: dict[str, list[float]] = {"plain": [], "scaled": []}
    runs = {
        "plain": make_run(tmp_path / "plain", plain=True, epochs=2, accumulation=2, max_norm=0.5),
        "scaled": scaled_run(tmp_path / "scaled", 1024.0, epochs=2, accumulation=2, max_norm=0.5),
    }
    for name, trainer in runs.items():
        keep = norms[name].append
        trainer.add_event_handler(
            Events.ITERATION_COMPLETED, lambda engine, keep=keep: keep(engine.state.gradient_norm)
        )
        trainer.run()
    assert runs["scaled"].scaler.get_scale() == 1024.0
    assert norms["scaled"] == pytest.approx(norms["plain"], rel=1e-4)
    for name, weights in runs["plain"].network.state_dict().items():
        torch.testing.assert_close(runs["scaled"].network.state_dict()[name], weights, atol=1e-5, rtol=1e-4, msg=name)


def test_a_gradient_that_no_smaller_scale_makes_finite_stops_the_run(tmp_path: Path) -> None:
    trainer = scaled_run(tmp_path, 4.0, epochs=1)
    before = trainer.network.head[2].weight.clone()
    trainer.network.head[2].weight.register_hook(lambda grad: grad * float("inf"))
    with pytest.raises(NonFiniteError, match="gradient norm (inf|nan)"):
        trainer.run()
    assert trainer.state.iteration == 3  # scales 4 and 2 were tried; at 1 the gradient itself is not finite
    assert torch.equal(trainer.network.head[2].weight, before)


@pytest.mark.parametrize(("name", "expected"), [("float16", True), ("bfloat16", False), ("auto", False), ("", False)])
def test_a_gpu_scales_the_loss_in_float16_alone(name: str, expected: bool) -> None:
    assert scales_loss(name, "cuda") is expected


@pytest.mark.parametrize("name", ["float32", "bfloat16", "auto"])
def test_a_cpu_scales_no_loss_and_trains_in_no_float16(name: str) -> None:
    assert scales_loss(name, torch.device("cpu")) is False
    with pytest.raises(InputError, match="float16.*bfloat16"):
        scales_loss("float16", torch.device("cpu"))


@pytest.mark.parametrize("stage", ["pretrain.json", "train.json"])
def test_both_stages_ask_whether_to_scale(stage: str) -> None:
    parser = ConfigParser()
    parser.read_config(str(BUNDLE / "configs" / stage))
    parser["device"], parser["amp_dtype"] = "cuda", "float16"
    assert parser.get_parsed_content("train#trainer#amp") is True


def test_guard_is_usable_without_file_names() -> None:
    guard = GradientGuard()
    assert guard.max_norm == 0.0


def test_history_holds_parts_rates_norms_and_metrics(tmp_path: Path) -> None:
    trainer = make_run(tmp_path, epochs=2)
    trainer.run()
    history = json.loads((tmp_path / "history.json").read_text())
    assert [step["iteration"] for step in history["steps"]] == [3, 5, 6, 9, 10]
    for step in history["steps"]:
        assert step["loss"] == pytest.approx(step["general_itc"] + step["general_itg"], rel=1e-5)
        assert {"learning_rate", "gradient_norm", "seconds", "epoch"} <= set(step)
    first = history["epochs"][0]
    weighted = (3 * history["steps"][0]["loss"] + 2 * history["steps"][1]["loss"]) / 5
    assert first["loss"] == pytest.approx(weighted, rel=1e-6)
    assert "validation_loss" in first
    assert first["iteration"] == 5


def test_tensorboard_and_curves(tmp_path: Path) -> None:
    from PIL import Image
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer = make_run(tmp_path / "run", epochs=1)
    seen = History(output_dir=tmp_path / "seen", evaluator=trainer.evaluator, every=1)
    seen.attach(trainer)
    trainer.run()
    events = EventAccumulator(str(tmp_path / "seen" / "tensorboard")).Reload()
    names = {"train/loss", "train/general_itc", "train/learning_rate", "train/gradient_norm", "validation/loss"}
    assert names <= set(events.Tags()["scalars"])
    losses = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert losses == [(int(step["iteration"]), pytest.approx(step["loss"])) for step in seen.steps]
    with Image.open(tmp_path / "seen" / "curves.png") as picture:
        assert picture.size == (1200, 760)
        assert len(picture.convert("RGB").getcolors(100000)) > 10  # lines were drawn


def test_run_record_says_what_ran_and_every_start(tmp_path: Path) -> None:
    config = tmp_path / "train.json"
    config.write_text("{}")
    folder = tmp_path / "run"
    for epochs in (1, 2):
        trainer = make_run(folder, epochs=epochs)
        RunRecord(output_dir=folder, seed=3, config_files=[str(config)], settings={"batch_size": 4}).attach(trainer)
        trainer.run()
    record = json.loads((folder / "run.json").read_text())
    assert record["seed"] == 3
    assert record["batch_size"] == 4
    assert record["versions"]["torch"] == torch.__version__
    assert record["starts"][-1]["iteration"] == 5  # the second start resumed
    assert (folder / "configs" / "train.json").read_text() == "{}"
    assert (folder / "log.txt").is_file()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "--config_file", "configs/train.json"], ["configs/train.json"]),
        (["--config_file=['a.json','b.json']"], ["a.json", "b.json"]),
        (["--config_file", "['a.json', \"b.json\"]"], ["a.json", "b.json"]),
        (["run"], []),
    ],
)
def test_config_files_are_found_on_the_command_line(arguments: list[str], expected: list[str]) -> None:
    assert named_configs(arguments) == expected


def test_progress_fits_80_columns_with_its_losses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    make_run(tmp_path, epochs=1).run()
    lines = re.split(r"[\r\n]+", capsys.readouterr().err)
    last = next(line for line in reversed(lines) if line.startswith("train"))
    assert re.match(r"train 100% 5/5 \d\d:\d\d<\d\d:\d\d, [\d.]+ .*itc [\d.]+", last), last
    assert max(map(len, lines)) < 80


def test_the_longest_losses_of_both_branches_fit() -> None:
    parts = {f"{branch}_{kind}": value for branch in ("general", "detail")
             for kind, value in (("itc", 0.318), ("itm", 0.661), ("itg", 10.9476))}  # fmt: skip
    shown = losses_in_words({"loss": 24.1769, **parts})
    assert shown == "24.2 itc .32 .32 itm .66 .66 itg 10.9 10.9"
    assert len("train 12/12 100% 273/273 00:34<00:41, ") + len(shown) <= 80
    more = {f"{branch}_sameness": 0.5 for branch in ("general", "detail")}
    assert losses_in_words({"loss": 24.1769, **parts, **more}) == shown  # what does not fit is left to the curves
    assert losses_in_words({"loss": 0.9951}) == "1.00" and losses_in_words({"loss": 123.4}) == "123"


def test_mlflow_holds_the_scalars_and_a_resumed_run_goes_on_in_the_same_run(tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="MLflow is an optional package")
    pytest.importorskip("sqlalchemy", reason="MLflow's database needs sqlalchemy and alembic")
    import sqlite3

    from scripts.training.sinks import MlflowWriter

    for start, loss in ((0, 1.5), (3, 1.0)):
        writer = MlflowWriter(tmp_path, start)
        writer.write({"train/loss": loss}, start + 3)
        writer.close()
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        assert database.execute("select key, value, step from metrics order by step").fetchall() == [
            ("train/loss", 1.5, 3),
            ("train/loss", 1.0, 6),
        ]
        assert database.execute("select status from runs").fetchall() == [("FINISHED",)]


class BrokenSink:
    """A sink whose disk is full at every write while ``broken``; notes what it was told."""

    broken, opened, written = True, 0, 0

    def __init__(self, output_dir: Path, iteration: int) -> None:
        type(self).opened += 1

    def write(self, values: dict[str, float], iteration: int) -> None:
        if type(self).broken:
            raise OSError(28, "No space left on device")
        type(self).written += 1

    def close(self) -> None:
        pass


def test_a_sink_that_cannot_be_written_does_not_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from ignite.engine import Events

    monkeypatch.setattr(history_module, "SINKS", {"tensorboard": BrokenSink})
    trainer = make_run(tmp_path / "run", epochs=3)
    History(output_dir=tmp_path / "seen", every=1).attach(trainer)
    trainer.add_event_handler(Events.EPOCH_COMPLETED(once=2), lambda: setattr(BrokenSink, "broken", False))
    trainer.run()
    assert caplog.text.count("tensorboard could not be written ([Errno 28]") == 2  # once in each epoch that failed
    assert BrokenSink.opened == 3
    assert BrokenSink.written == 5  # the last epoch's iterations


def test_sums_of_a_checkpoint_go_to_the_device_of_what_is_added() -> None:
    """They are read into main memory, and NCCL sends nothing from there; ``meta`` stands for a GPU."""
    means, resumed = history_module._Means(), history_module._Means()
    means.add({"loss": torch.tensor(2.0)})
    resumed.load_state_dict(means.state_dict())
    resumed.add({"loss": torch.zeros((), device="meta")})
    assert resumed._sums["loss"].device.type == "meta"
