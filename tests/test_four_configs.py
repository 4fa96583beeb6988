"""The four configs from the command line with ``--device cpu``, each on what the one before left, at tiny sizes."""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

import ablation_parts  # noqa: F401  forked commands find what is imported here
import fire  # noqa: F401
import monai.bundle  # noqa: F401
import pytest
from config_run import SMALL, STAGE, make_data

import scripts.metrics.score_run  # noqa: F401
import scripts.training  # noqa: F401
from child_process import Child

TINY: dict[str, Any] = {**SMALL, **STAGE["pretrain.json"], **STAGE["train.json"], "sample_captions": 1, "num_beams": 2}
TINY |= {"concept_reader": "", "calibration": "", "baselines": False, "epochs": 1}
GIVEN = ("device", "epochs", "pretrained")  # on the command line instead


def monai_bundle(arguments: list[str], folder: Path) -> None:
    """``python -m monai.bundle`` with ``arguments`` from ``folder``, in a forked process: no import time."""
    os.chdir(folder)
    sys.argv = ["monai.bundle", *arguments]
    runpy.run_module("monai.bundle", run_name="__main__")


def run(folder: Path, bundle: Path, names: list[str], **options: object) -> None:
    """``monai.bundle run`` of the configs at tiny sizes ends well."""
    files = [bundle / "configs" / name for name in names]
    known = {key for file in files for key in json.loads(file.read_text(encoding="utf-8"))}
    tiny = {key: value for key, value in TINY.items() if key.partition("#")[0] in known and key not in GIVEN}
    if names != ["pretrain.json"]:
        tiny.pop("tokenizer", None)
    (folder / "tiny.json").write_text(json.dumps(tiny))
    config = str([str(file) for file in [*files, folder / "tiny.json"]])
    arguments = ["run", "--config_file", config, "--device", "cpu"]
    arguments += [word for name, value in options.items() for word in (f"--{name}", str(value))]
    child = Child(folder / "logs", monai_bundle, arguments, bundle)
    code, said = child.end(), child.log.read_text()
    assert code == 0 and "Traceback" not in said, said[-3000:]


@pytest.mark.timeout(900)
def test_the_four_configs_run_one_after_the_other_on_a_cpu(bundle_root: Path, tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", count=4)
    cached = {"dataset_dir": data, "feature_cache_dir": tmp_path / "features"}
    first, second = tmp_path / "stage1", tmp_path / "stage2"
    run(tmp_path, bundle_root, ["pretrain.json"], **cached, epochs=1, output_dir=first)
    run(tmp_path, bundle_root, ["train.json"], **cached, epochs=1, output_dir=second, pretrained=first / "model.pt")
    for folder in (first, second):
        assert (folder / "model.pt").is_file() and "Engine run finished" in (folder / "log.txt").read_text()

    trained = {"dataset_dir": data, "weights": second / "model.pt"}
    files = ["train.json", "evaluate.json"]
    run(tmp_path, bundle_root, files, **trained, feature_cache_dir="", output_dir=tmp_path / "scores")
    scores = json.loads((tmp_path / "scores" / "evaluation.json").read_text())
    assert scores["images"] == 4 and not scores["failed"]

    run(tmp_path, bundle_root, ["inference.json"], **trained, output_dir=tmp_path / "captions",
        datalist=data / "datalist.json", section="validation")  # fmt: skip
    lines = [json.loads(line) for line in (tmp_path / "captions" / "captions.jsonl").read_text().splitlines()]
    evaluated = [json.loads(line) for line in (tmp_path / "scores" / "captions.jsonl").read_text().splitlines()]
    assert [line["error"] for line in lines] == [None] * 4
    assert [line["caption"] for line in lines] == [line["caption"] for line in evaluated]
