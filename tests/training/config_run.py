"""The bundle's own configs at tiny sizes: real pixels, both encoders, both Q-Formers, a language model."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.utils import set_determinism
from PIL import Image

BUNDLE = Path(__file__).parents[2] / "bundle"
SMALL: dict[str, Any] = {
    "device": "cpu",
    "image_size": 64,
    "queries": 4,
    "qformer_width": 32,
    "qformer_layers": 2,
    "qformer_heads": 4,
    "qformer_intermediate": 64,
    "text_encoder": "",
    "epochs": 2,
    "batch_size": 2,
    "warmup_steps": 1,
    "learning_rate": 0.01,
    "float32_precision": "exact",
    "history#every": 1,
    "history#curves": False,
    "general_encoder#_target_": "ablation_parts.clip",
    "detail_encoder#_target_": "ablation_parts.sam",
}
STAGE: dict[str, dict[str, Any]] = {
    "pretrain.json": {"tokenizer": {"_target_": "ablation_parts.bert_tokenizer"}},
    "train.json": {"language_model#_target_": "ablation_parts.language_model", "pretrained": "", "max_new_tokens": 5},
}
WORDS = ("one", "two", "three", "four", "head", "chest", "mr", "x-ray")


def make_data(folder: Path, count: int = 8) -> Path:
    """Images with captions: ``count`` to train, four to validate."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for number in range(count + 4):
        pixels = np.random.default_rng(number).integers(0, 255, (70, 60), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        words = " ".join(WORDS[(number + step) % len(WORDS)] for step in range(1 + number % 3))
        entries.append({"image": f"{number}.png", "caption": f"ct of the {words} ."})
    (folder / "datalist.json").write_text(json.dumps({"training": entries[:count], "validation": entries[count:]}))
    return folder


def settings_of(names: list[str], data: Path, output: Path, **changes: Any) -> dict[str, Any]:
    settings = {**SMALL, **STAGE[names[0]], "bundle_root": str(data), "dataset_dir": str(data)}
    settings |= {"output_dir": str(output), "feature_cache_dir": str(data / "features"), **changes}
    return settings


def read_config(names: list[str], data: Path, output: Path, **changes: Any) -> ConfigParser:
    """``names``, later ones over earlier ones, at tiny sizes; nothing is built yet."""
    parser = ConfigParser()
    parser.read_config([str(BUNDLE / "configs" / name) for name in names])
    for key, value in settings_of(names, data, output, **changes).items():
        parser[key] = value
    parser.parse()
    return parser


def run_config(names: list[str], data: Path, output: Path, **changes: Any) -> ConfigParser:
    """Run ``names`` as ``monai.bundle run`` does; returns the parser with everything that was built."""
    parser = read_config(names, data, output, **changes)
    run_workflow(parser)
    return parser


def run_workflow(parser: ConfigParser, command: str = "run") -> None:
    """What ``monai.bundle run`` evaluates, ``run`` or another command."""
    torch.manual_seed(0)
    for part in ("initialize", command, "finalize"):
        if part in parser:
            parser.get_parsed_content(part)


def build_config(names: list[str], data: Path, output: Path, **changes: Any) -> ConfigParser:
    """Build all that ``names`` describe, in the order of a run, without running it."""
    parser = read_config(names, data, output, **changes)
    set_determinism(seed=parser["seed"], use_deterministic_algorithms=False)
    for part in ("start", "token_standardization", "train#trainer"):
        parser.get_parsed_content(part)
    parser.random_state = random.getstate()
    return parser


def run_built(parser: ConfigParser, pause: float) -> None:
    """In a forked process: run (on) what the parent built; ``pause`` seconds before each step."""
    random.setstate(parser.random_state)  # Python seeds a forked child's generator anew
    trainer = parser.get_parsed_content("train#trainer")
    Pause(pause).attach(trainer)
    trainer.run()


def run_to_end(names: list[str], data: Path, output: Path, changes: dict[str, Any], pause: float = 0.0) -> None:
    """In a process of its own: run (on) to the end; ``pause`` seconds before each step give time to be killed."""
    if pause:
        changes = {**changes, "train#handlers": _with_pause(names, pause)}
    run_config(names, data, output, **changes)


def _with_pause(names: list[str], pause: float) -> list[Any]:
    parser = ConfigParser()
    parser.read_config([str(BUNDLE / "configs" / name) for name in names])
    return [{"_target_": "config_run.Pause", "seconds": pause}, *parser["train#handlers"]]


class Pause:
    """Handler that makes iterations slow."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def attach(self, engine: Any) -> None:
        import time

        from ignite.engine import Events

        engine.add_event_handler(Events.ITERATION_STARTED, lambda _: time.sleep(self.seconds))


class SignalDuringValidation:
    """Handler of an evaluator: the first batch of ``epoch``'s validation brings this process a SIGTERM."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def attach(self, engine: Any) -> None:
        import os
        import signal

        from ignite.engine import Events

        def send(engine: Any) -> None:
            if engine.state.epoch == self.epoch:
                os.kill(os.getpid(), signal.SIGTERM)

        engine.add_event_handler(Events.ITERATION_STARTED(once=1), send)
