"""Both stages from the shipped configs: killed and resumed, accumulated, checkpointed, compiled, watched."""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from config_run import BUNDLE, build_config, make_data, read_config, run_built, run_config, run_to_end

from child_process import Child
from nested import assert_equal
from scripts.data import CacheOptions, FeatureCache
from scripts.training.checkpoint_files import checkpoint_files, read_checkpoint

STAGES = ["pretrain.json", "train.json"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("kills", [8, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
@pytest.mark.parametrize("stage", STAGES)
def test_kill_9_at_random_moments_ends_in_the_same_weights(tmp_path: Path, data: Path, stage: str, kills: int) -> None:
    """Dropout, hard negatives, warm-up, validation and best models included; the checkpoint is compared as a whole."""
    changes = {"epochs": kills, "save_every": 1, "val_interval": 3}
    whole, cut, chance = tmp_path / "whole", tmp_path / "cut", random.Random(kills)
    run_built(build_config([stage], data, whole, **changes), 0)
    built = build_config([stage], data, cut, **changes)  # once: each child begins with it, as a new process would
    reached: list[str] = []
    for _ in range(kills):
        before = checkpoint_files(cut)[:1]
        child = Child(tmp_path / "logs", run_built, built, 0.02)
        deadline = time.monotonic() + 120
        while checkpoint_files(cut)[:1] == before and child.running() and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.04))
        assert child.end(signal.SIGKILL) == -signal.SIGKILL, child.log.read_text()  # it was still running
        reached.append(checkpoint_files(cut)[0].name)
    assert reached == sorted(reached) and len(set(reached)) == kills
    child = Child(tmp_path / "logs", run_to_end, [stage], data, cut, changes)
    assert child.end() == 0, child.log.read_text()
    states = [read_checkpoint(checkpoint_files(folder)[0]) for folder in (whole, cut)]
    assert states[0]["engine"]["iteration"] == 4 * changes["epochs"]
    assert_equal(*states, ignored={"seconds"})
    models = [torch.load(folder / "model.pt", weights_only=True) for folder in (whole, cut)]
    assert_equal(*models, ignored={"seconds"})
    for file in ("samples.json",) if stage == "train.json" else ():
        assert (whole / file).read_text() == (cut / file).read_text()


@pytest.mark.parametrize("stage", STAGES)
def test_the_cache_is_built_on_the_device_of_the_run_and_read_by_its_workers(
    tmp_path: Path, data: Path, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The encoders are still on the CPU then: the network moves to its device after its data set is there."""
    built: list[CacheOptions] = []
    monkeypatch.setattr(FeatureCache, "build", lambda cache, items: built.append(cache.options))
    parser = read_config([stage], data, tmp_path, device="$torch.device('meta')", workers=3)
    for section in ("train", "validate"):
        parser.get_parsed_content(f"{section}#dataset")
    assert [(options.device, options.workers) for options in built] == [(torch.device("meta"), 3)] * 4


def test_the_general_encoder_is_tuned_validated_and_published(tmp_path: Path, data: Path) -> None:
    from scripts.checkpoints.publish import main
    from scripts.concepts.reader import load_concept_reader

    names = ["pretrain.json", "tune_general.json"]
    encoder = {"_target_": "scripts.encoders.efficientnet.EfficientNetEncoder", "weights": None, "input_size": 32}
    encoder |= {"trainable_blocks": "all", "batch_statistics": True}
    changes = {"feature_cache_dir": "", "general_encoder": encoder, "concept_min_count": 1}
    parser = run_config(names, data, tmp_path, **changes)
    trainer = parser.get_parsed_content("train#trainer")
    metrics = json.loads((tmp_path / "history.json").read_text())["epochs"][-1]
    assert trainer.state.epoch == 2 and {"validation_val_loss", "validation_modality"} <= set(metrics)
    assert main(["encoder", str(tmp_path / "model.pt"), "general", str(tmp_path / "encoder.pt")]) == 0
    assert torch.load(tmp_path / "encoder.pt", weights_only=True)
    parser.get_parsed_content("export")
    reader = load_concept_reader(tmp_path / "concept_reader.safetensors", tmp_path / "similar_cases.safetensors")
    assert len(reader.cases) == len(parser.get_parsed_content("captions")) and reader.cases.captions
    assert reader.vocabulary.names == parser.get_parsed_content("concepts").names
    with torch.no_grad():
        network, image = parser.get_parsed_content("network_def").cpu().eval(), torch.rand(1, 3, 64, 64)
        read, expected = reader(reader.encoder(image))[1]["modality"], network(image)["modality"].log_softmax(dim=1)
    torch.testing.assert_close(read, expected, atol=0.02, rtol=0.02)  # half precision


def test_the_general_encoder_is_tuned_on_cases_of_several_views(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data")
    parts = json.loads((data / "datalist.json").read_text())
    for entry in (entry for entries in parts.values() for entry in entries[::2]):
        entry["image"] = [entry["image"], "1.png"]
    (data / "datalist.json").write_text(json.dumps(parts))
    encoder = {"_target_": "scripts.encoders.efficientnet.EfficientNetEncoder", "weights": None, "input_size": 32}
    encoder |= {"trainable_blocks": "all", "batch_statistics": True}
    changes = {"feature_cache_dir": "", "general_encoder": encoder, "concept_min_count": 1, "epochs": 1}
    names = ["pretrain.json", "tune_general.json"]
    parser = run_config(names, data, tmp_path / "run", **changes, similar_cases="")
    [epoch] = json.loads((tmp_path / "run" / "history.json").read_text())["epochs"]
    assert epoch["validation_val_loss"] > 0
    parser.get_parsed_content("export")
    assert [file.name for file in (tmp_path / "run").glob("*.safetensors")] == ["concept_reader.safetensors"]


def test_the_last_epoch_is_published_from_the_run_and_the_best_from_its_file(tmp_path: Path, data: Path) -> None:
    from scripts.checkpoints.publish import main
    from scripts.weights.loading import read_state

    network = run_config(["train.json"], data, tmp_path / "run").get_parsed_content("network")
    last = {name: value for name, value in network.state_dict().items() if "query_tokens" in name or "lora_" in name}
    best = torch.load(tmp_path / "run" / "model.pt", weights_only=True)
    for source, wanted in ((tmp_path / "run", last), (tmp_path / "run" / "model.pt", best)):
        assert main(["model", str(source), str(tmp_path / "model.pt")]) == 0
        found = read_state(tmp_path / "model.pt")
        assert set(found) == set(best)
        for name, value in wanted.items():
            torch.testing.assert_close(found[name].float(), value.float(), atol=1e-3, rtol=1e-3, msg=name)  # half
    assert any("lora_" in name for name in last)
    assert main(["model", str(data), str(tmp_path / "model.pt")]) == 1  # no run


@pytest.mark.parametrize("stored", [True, False])
def test_a_run_goes_on_with_the_alpha_of_its_checkpoint(tmp_path: Path, data: Path, stored: bool) -> None:
    """Where the checkpoint is from before alpha was stored, with the network's own."""
    options = {"sample_captions": 0, "max_new_tokens": 2}
    run_config(["train.json"], data, tmp_path / "run", epochs=1, **options)
    path = next(iter(checkpoint_files(tmp_path / "run")))
    state = torch.load(path, weights_only=True)
    alphas = [name for name in state["network"] if name.endswith(".alpha")]
    assert alphas and all(state["network"][name] == 16 for name in alphas)
    for name in alphas:
        state["network"][name] = torch.tensor(40.0)
        if not stored:
            del state["network"][name]
    torch.save(state, path)
    network = run_config(["train.json"], data, tmp_path / "run", epochs=2, **options).get_parsed_content("network")
    scalings = {module.scaling["default"] for module in network.modules() if hasattr(module, "lora_A")}
    assert scalings == {(40.0 if stored else 16.0) / 8}
    assert network.state_dict()[alphas[0]] == (40.0 if stored else 16.0)


@pytest.mark.parametrize("stage", STAGES)
def test_sigterm_saves_and_exits_cleanly(tmp_path: Path, data: Path, stage: str) -> None:
    child = Child(tmp_path / "logs", run_to_end, [stage], data, tmp_path / "run", {"epochs": 50, "save_every": 1}, 0.05)
    while not checkpoint_files(tmp_path / "run") and child.running():
        time.sleep(0.01)
    code, output = child.end(signal.SIGTERM), child.log.read_text()
    assert code == 0 and "Traceback" not in output, output
    assert "SIGTERM: saved" in (tmp_path / "run" / "log.txt").read_text()


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_stopped_during_validation_tells_and_keeps_what_a_whole_one_does(
    tmp_path: Path, data: Path, stage: str
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run_config([stage], data, whole)
    stop = {"validate#handlers": [{"_target_": "config_run.SignalDuringValidation", "epoch": 1}]}
    parser = run_config([stage], data, cut, **stop)
    assert parser.get_parsed_content("train#trainer").state.epoch == 1
    assert not (cut / "samples.json").exists() and not (cut / "model.pt").exists()
    run_config([stage], data, cut)
    states = [read_checkpoint(checkpoint_files(folder)[0]) for folder in (whole, cut)]
    assert_equal(*states, ignored={"seconds"})
    shown = [_events(folder) for folder in (whole, cut)]
    assert shown[0] == shown[1] and any(name.startswith("validation/") for name in shown[0])
    for file in ("samples.json",) if stage == "train.json" else ():
        assert (whole / file).read_text() == (cut / file).read_text()
    log = (cut / "log.txt").read_text()
    assert log.index("SIGTERM: saved") < log.index("resumed from") < log.index("epoch 1, iteration 4: ")


def _events(folder: Path) -> dict[str, list[int]]:
    """Steps at which TensorBoard was told each scalar and shown each picture."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    steps = {name: [event.step for event in events.Scalars(name)] for name in events.Tags()["scalars"]}
    return steps | {name: [event.step for event in events.Images(name)] for name in events.Tags()["images"]}


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_folder_tells_everything(tmp_path: Path, data: Path, stage: str) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path / "run"
    config = BUNDLE / "configs" / stage
    run_config([stage], data, folder, **{"train#handlers#0#config_files": [str(config)], "history#curves": True})
    log = (folder / "log.txt").read_text()
    assert "epoch 1, iteration 4: " in log and "epoch 2, iteration 8: " in log and "validation_val_loss" in log
    record = json.loads((folder / "run.json").read_text())
    assert record["seed"] == 0 and record["versions"]["torch"] == torch.__version__
    assert (folder / "configs" / stage).read_text() == config.read_text()
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    scalars = set(events.Tags()["scalars"])
    wanted = {"train/loss", "train/learning_rate", "train/gradient_norm", "validation/val_loss"}
    if stage == "pretrain.json":
        wanted |= {f"train/{branch}_{part}" for branch in ("general", "detail") for part in ("itc", "itm", "itg")}
        for branch in ("general", "detail"):
            wanted |= {f"validation/{branch}_{way}_recall@{k}" for way in ("i2t", "t2i") for k in (1, 5)}
            wanted.add(f"validation/{branch}_itm_accuracy")
    else:
        assert {f"samples/{number}" for number in range(1, 5)} <= set(events.Tags()["images"])
        samples = json.loads((folder / "samples.json").read_text())
        assert [entry["epoch"] for entry in samples] == [1, 2]
        assert len(samples[0]["samples"]) == 4 and samples[0]["samples"][0]["reference"].startswith("ct of the")
    assert wanted <= scalars


def test_augmented_views_are_cached_by_one_overlay(tmp_path: Path, data: Path) -> None:
    changes = {"augmented_views": 3, "feature_cache_dir": str(tmp_path / "features"), "sample_captions": 0}
    parser = run_config(["train.json", "augmented.json"], data, tmp_path / "run", **changes)
    training, validation = (parser.get_parsed_content(f"{part}#dataset") for part in ("train", "validate"))
    assert [len(cache.store) for cache in (*training.caches, *validation.caches)] == [24, 24, 4, 4]
    seen = []
    for epoch in range(8):
        training.set_epoch(epoch)
        seen.append(b"".join(training[index]["detail_tokens"].numpy().tobytes() for index in range(8)))
    assert len(set(seen)) > 1  # another version in another epoch


def losses(folder: Path, key: str = "loss") -> list[float]:
    return [step[key] for step in json.loads((folder / "history.json").read_text())["steps"]]


def test_two_summed_batches_are_one_of_twice_the_size(tmp_path: Path, data: Path) -> None:
    same = {"qformer_dropout": 0.0, "epochs": 1, "train#dataloader#sampler#lengths": None}
    run_config(["train.json"], data, tmp_path / "whole", batch_size=4, **same)
    parser = run_config(["train.json"], data, tmp_path / "summed", batch_size=2, accumulation_steps=2, **same)
    assert parser.get_parsed_content("scheduler").last_epoch == 2
    weights = [torch.load(tmp_path / name / "model.pt", weights_only=True) for name in ("whole", "summed")]
    for name, value in weights[0].items():
        if not name.endswith("key.bias"):  # its gradient is rounding alone, which Adam makes a step of
            torch.testing.assert_close(weights[1][name], value, atol=1e-3, rtol=1e-3, msg=name)


@pytest.mark.parametrize(
    ("stage", "change"),
    [
        ("pretrain.json", {"activation_checkpointing": True}),
        ("pretrain.json", {"contrastive_chunk": 1}),
        ("train.json", {"activation_checkpointing": True}),
        pytest.param("train.json", {"compile": "aot_eager"}, marks=[pytest.mark.slow, pytest.mark.timeout(1800)]),
        ("train.json", {"detail_absorbed": True}),
    ],
)
def test_a_trick_changes_no_loss(tmp_path: Path, data: Path, stage: str, change: dict[str, Any]) -> None:
    options = {"qformer_dropout": 0.0, "sample_captions": 0, "learning_rate": 0.001} | ({"epochs": 1})
    run_config([stage], data, tmp_path / "plain", **options)
    run_config([stage], data, tmp_path / "trick", **options, **change)
    assert losses(tmp_path / "trick") == pytest.approx(losses(tmp_path / "plain"), rel=2e-5)
    assert losses(tmp_path / "trick", "gradient_norm") == pytest.approx(
        losses(tmp_path / "plain", "gradient_norm"), rel=1e-3
    )


def test_retrieval_of_a_checkpoint_as_a_command(tmp_path: Path, data: Path) -> None:
    run_config(["pretrain.json"], data, tmp_path / "stage1", epochs=1)
    names = ["pretrain.json", "evaluate_retrieval.json"]
    run_config(names, data, tmp_path / "out", weights=str(tmp_path / "stage1" / "model.pt"))
    result = json.loads((tmp_path / "out" / "retrieval.json").read_text())
    for branch in ("general", "detail"):
        for way in ("i2t", "t2i"):
            first, fifth, tenth = (result[f"{branch}_{way}_recall@{k}"] for k in (1, 5, 10))
            assert 0 <= first <= fifth <= tenth == 1.0  # four cases
        assert 0 <= result[f"{branch}_itm_accuracy"] <= 1


def test_the_paper_preset_keeps_trained_parameters_only_and_starts_stage_2_by_one_value(
    tmp_path: Path, data: Path
) -> None:
    # sizes stay tiny; what the preset decides (norms, positions, text start, phases, layout) is its own
    sizes = {"general_start": "", "sam_pool": 1, "max_grad_norm": 1.0, "epochs": 1, "amp_dtype": "float32"}
    sizes |= {"language_model_dtype": "float32", "cache_compute_dtype": "float32", "num_beams": 2, "min_new_tokens": 1}
    sizes |= {"max_new_tokens": 4, "prompt": "", "learning_rate": 1e-4}
    parser = run_config(["pretrain.json", "paper.json"], data, tmp_path / "stage1", **sizes)
    trained = {name for name, p in parser.get_parsed_content("network").named_parameters() if p.requires_grad}
    state = read_checkpoint(checkpoint_files(tmp_path / "stage1")[0])["network"]
    assert trained <= set(state) and not [name for name in state if ".encoder." in name]
    assert {name for name in set(state) - trained if not name.endswith(".draws")} == set()
    changes = {**sizes, "pretrained": str(tmp_path / "stage1" / "model.pt")}
    parser = run_config(["train.json", "paper.json"], data, tmp_path / "stage2", **changes)
    network = parser.get_parsed_content("network")
    trained = {name for name, p in network.named_parameters() if p.requires_grad}
    for file in (checkpoint_files(tmp_path / "stage2")[0], tmp_path / "stage2" / "model.pt"):
        state = torch.load(file, weights_only=True)
        assert set(state.get("network", state)) == trained
    assert not [name for name in trained if "encoder." in name or name.startswith("language_model")]
    assert "branches.detail.qformer.query_tokens" in trained and "projections.detail.weight" in trained
    first = torch.load(tmp_path / "stage1" / "model.pt", weights_only=True)
    moved = network.branches["detail"].qformer.query_tokens - first["branches.detail.branch.qformer.query_tokens"]
    assert 0 < moved.abs().max() < 1e-3  # it went on from there: four steps of at most 1e-4


def test_the_checkpoint_with_the_best_captions_is_kept(tmp_path: Path, data: Path) -> None:
    """A worse score comes after a better one: the better one stays, and losses are recorded beside it."""
    parser = run_config(["train.json", "best_caption.json"], data, tmp_path, epochs=3, caption_score="ROUGE-L")
    epochs = json.loads((tmp_path / "history.json").read_text())["epochs"]
    scores = [epoch["validation_val_caption_score"] for epoch in epochs]
    assert scores == [epoch["validation_ROUGE-L"] for epoch in epochs] and len(set(scores)) > 1
    assert all(epoch["validation_val_loss"] > 0 for epoch in epochs)
    best = [path.name for path in tmp_path.glob("model_epoch*.pt")]
    first = scores.index(max(scores)) + 1
    assert best == [f"model_epoch={first:03d}_val_caption_score={max(scores):.4f}.pt"]
    assert parser.get_parsed_content("validate#evaluator").state.best_metric == pytest.approx(max(scores))


def test_mlflow_by_one_value(tmp_path: Path, data: Path) -> None:
    pytest.importorskip("mlflow", reason="MLflow is an optional package")
    import sqlite3

    run_config(["train.json"], data, tmp_path / "run", mlflow=True, epochs=1)
    with sqlite3.connect(tmp_path / "run" / "mlflow.db") as database:
        keys = {key for (key,) in database.execute("select distinct key from metrics")}
    assert {"train/loss", "train/learning_rate", "train/gradient_norm", "validation/val_loss"} <= keys
    assert len(list((tmp_path / "run" / "mlflow").rglob("samples/1/*.png"))) == 1
    (text,) = (tmp_path / "run" / "mlflow").rglob("samples/1/*.txt")
    assert "reference: ct of the" in text.read_text()
