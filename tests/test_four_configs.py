"""The four configs from the command line with ``--device cpu``, each on what the one before left, at tiny sizes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from config_run import SMALL, STAGE, make_data

TESTS = Path(__file__).resolve().parent
TINY: dict[str, Any] = {**SMALL, **STAGE["pretrain.json"], **STAGE["train.json"], "sample_captions": 1, "num_beams": 2}
TINY |= {"concept_reader": "", "calibration": "", "baselines": False, "epochs": 1}
GIVEN = ("device", "epochs", "pretrained")  # on the command line instead


def run(folder: Path, bundle: Path, names: list[str], **options: object) -> str:
    """``python -m monai.bundle run`` of the configs at tiny sizes; what it prints."""
    files = [bundle / "configs" / name for name in names]
    known = {key for file in files for key in json.loads(file.read_text(encoding="utf-8"))}
    tiny = {key: value for key, value in TINY.items() if key.partition("#")[0] in known and key not in GIVEN}
    if "tokenizer" in tiny and names != ["pretrain.json"]:
        del tiny["tokenizer"]
    (folder / "tiny.json").write_text(json.dumps(tiny))
    config = str([str(file) for file in [*files, folder / "tiny.json"]])
    command = [sys.executable, "-W", "ignore", "-m", "monai.bundle", "run", "--config_file", config, "--device", "cpu"]
    command += [word for name, value in options.items() for word in (f"--{name}", str(value))]
    path = os.pathsep.join([str(bundle), str(TESTS / "ablation")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=250, env=environment, cwd=bundle, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    return done.stdout


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
