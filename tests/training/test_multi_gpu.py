"""Two processes under ``torchrun`` with the bundle's own ``multi_gpu.json``: one loss curve, one set of metrics."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from config_run import BUNDLE, make_data, read_config, run_config, run_workflow, settings_of
from monai.bundle import ConfigParser
from torch import nn

from child_process import Child
from scripts.data import FeatureCache
from scripts.distributed import finish, start
from scripts.training.prepare_network import language_model_layers

if not dist.is_available() or not dist.is_gloo_available():
    pytest.skip("this PyTorch has no gloo", allow_module_level=True)

SHARDED = ["train.json", "multi_gpu.json", "fsdp.json"]
SAME = {"qformer_dropout": 0.0, "epochs": 2, "learning_rate": 0.003}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("data"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def tell(rank: int, port: int) -> None:
    """What ``torchrun`` tells a process."""
    told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({key: str(value) for key, value in told.items()})


def as_rank(rank: int, port: int, names: list[str], data: Path, output: Path, changes: dict[str, Any]) -> None:
    """The config of a run, which starts and leaves the group itself."""
    tell(rank, port)
    parser = run_config(names, data, output, **changes)
    assert not dist.is_initialized()
    metrics = parser.get_parsed_content("validate#evaluator").state.metrics
    scalars = {name: float(value) for name, value in metrics.items() if not isinstance(value, dict)}
    history = parser.get_parsed_content("history")
    (output / f"rank_{rank}.json").write_text(json.dumps({"metrics": scalars, "steps": history.steps}))


def caching_as_rank(rank: int, port: int, names: list[str], data: Path, output: Path, changes: dict[str, Any]) -> None:
    """``run caching``; notes which images each cache of this process encoded."""
    tell(rank, port)
    encoded: list[str] = []
    encode_all = FeatureCache._encode_all

    def noted(cache: FeatureCache, jobs: list[Any], *rest: Any) -> None:
        encoded.extend(f"{next(iter(cache.encoders))} {Path(item['image']).name}" for item, _, _ in jobs)
        encode_all(cache, jobs, *rest)

    FeatureCache._encode_all = noted  # type: ignore[method-assign]
    run_workflow(read_config(names, data, output, **changes), "caching")
    assert not dist.is_initialized()
    (output / f"rank_{rank}.json").write_text(json.dumps(encoded))


def together(names: list[str], data: Path, output: Path, run: Any = as_rank, **changes: Any) -> list[Any]:
    """Run ``names`` in two processes; returns what each measured."""
    output.mkdir()
    port = _free_port()
    children = [Child(output / "logs", run, rank, port, names, data, output, changes) for rank in range(2)]
    codes = [child.end() for child in children]
    assert codes == [0, 0], "\n".join(child.log.read_text() for child in children)
    return [json.loads((output / f"rank_{rank}.json").read_text()) for rank in range(2)]


def assert_one_curve(expected: dict[str, Any], results: list[dict[str, Any]]) -> None:
    for result in results:
        assert result["metrics"] == pytest.approx(expected["metrics"], rel=1e-4, abs=1e-6)
        assert len(result["steps"]) == len(expected["steps"]) > 1
        for step, reference in zip(result["steps"], expected["steps"], strict=True):
            for key in set(reference) - {"seconds"}:
                assert step[key] == pytest.approx(reference[key], rel=1e-4), key
    assert results[0]["metrics"] == results[1]["metrics"]


def one_process(names: list[str], data: Path, output: Path, **changes: Any) -> dict[str, Any]:
    parser = run_config(names, data, output, **changes)
    metrics = parser.get_parsed_content("validate#evaluator").state.metrics
    scalars = {name: float(value) for name, value in metrics.items() if not isinstance(value, dict)}
    return {"metrics": scalars, "steps": parser.get_parsed_content("history").steps}


@pytest.mark.parametrize("stage", ["pretrain.json", "train.json"])
def test_two_processes_follow_one_at_the_same_global_batch(tmp_path: Path, data: Path, stage: str) -> None:
    """Losses of every step, learning rate, gradient norm, validation loss, retrieval: hard negatives drawn alike."""
    expected = one_process([stage], data, tmp_path / "one", batch_size=4, **SAME)
    results = together([stage, "multi_gpu.json"], data, tmp_path / "two", batch_size=2, **SAME)
    assert_one_curve(expected, results)
    assert (tmp_path / "two" / "model.pt").is_file()


@pytest.mark.parametrize("stage", ["pretrain.json", "train.json"])
def test_caching_in_two_processes_encodes_each_image_once(tmp_path: Path, data: Path, stage: str) -> None:
    changes = {"feature_cache_dir": str(tmp_path / "features")}
    first, second = together([stage, "multi_gpu.json"], data, tmp_path / "two", run=caching_as_rank, **changes)
    expected = [f"{branch} {number}.png" for branch in ("general", "detail") for number in range(12)]
    assert sorted(first + second) == sorted(expected)
    assert len(first) == len(second) == 12


def test_a_sharded_language_model_gives_the_same_curve(tmp_path: Path, data: Path) -> None:
    """``fsdp.json``: each process holds half of every transformer block of the language model."""
    frozen = {**SAME, "lora_rank": 0}  # as fsdp.json has it
    expected = one_process(["train.json"], data, tmp_path / "one", batch_size=4, **frozen)
    results = together(SHARDED, data, tmp_path / "two", batch_size=2, **SAME)
    assert_one_curve(expected, results)
    samples = [json.loads((tmp_path / name / "samples.json").read_text()) for name in ("one", "two")]
    assert samples[0] == samples[1]  # generation goes through the shards, too


def build_sharded(rank: int, port: int, data: Path, output: Path) -> None:
    """Build the network of ``fsdp.json`` and assert what its blocks went through, and in which order."""
    from torch.distributed.tensor import DTensor

    tell(rank, port)
    start()
    parser = ConfigParser()
    parser.read_config([str(BUNDLE / "configs" / name) for name in SHARDED])
    for key, value in settings_of(SHARDED, data, output, activation_checkpointing=True).items():
        parser[key] = value
    parser.parse()
    move, moved = nn.Module.to, []

    def watched(module: nn.Module, *arguments: Any, **named: Any) -> nn.Module:
        if torch._C._nn._parse_to(*arguments, **named)[0] is not None:
            moved.append([parameter for block in language_model_layers(module) for parameter in block.parameters()])
        return move(module, *arguments, **named)

    nn.Module.to = watched
    network = parser.get_parsed_content("bare_network")
    assert any(moved)
    assert all(isinstance(parameter, DTensor) for parameters in moved for parameter in parameters)
    assert all("forward" in vars(block) for block in language_model_layers(network))  # computed again when backward
    finish()


def test_blocks_are_sharded_before_anything_is_moved_to_the_device(tmp_path: Path, data: Path) -> None:
    """A model that fits no device whole must never be put on one whole."""
    port = _free_port()
    children = [Child(tmp_path / "logs", build_sharded, rank, port, data, tmp_path) for rank in range(2)]
    codes = [child.end() for child in children]
    assert codes == [0, 0], "\n".join(child.log.read_text() for child in children)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("stage", ["pretrain.json", "train.json"])
def test_torchrun_itself(tmp_path: Path, data: Path, stage: str) -> None:
    """The command of the docs, launcher and all: exit code 0, no hang, the curve of one process."""
    expected = one_process([stage], data, tmp_path / "one", batch_size=4, **SAME)
    changes = settings_of([stage], data, tmp_path / "two", batch_size=2, **SAME)
    (tmp_path / "changes.json").write_text(json.dumps(changes))
    files = [
        str(BUNDLE / "configs" / stage),
        str(BUNDLE / "configs" / "multi_gpu.json"),
        str(tmp_path / "changes.json"),
    ]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node=2",
        "-m",
        "monai.bundle",
    ]
    command += ["run", "training", "--config_file", str(files), "--bundle_root", str(data)]
    paths = os.pathsep.join([str(BUNDLE), str(Path(__file__).parents[1])])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=1000, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    steps = json.loads((tmp_path / "two" / "history.json").read_text())["steps"]
    for step, reference in zip(steps, expected["steps"], strict=True):
        for key in set(reference) - {"seconds"}:
            assert step[key] == pytest.approx(reference[key], rel=1e-4), key
    starts = json.loads((tmp_path / "two" / "run.json").read_text())
    assert starts["machine"]["processes"] == 2
