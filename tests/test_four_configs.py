"""The four configs from the command line with ``--device cpu``, each on what the one before left, at tiny sizes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import ablation_parts  # noqa: F401  forked commands find what is imported here
import fire  # noqa: F401
import monai.bundle  # noqa: F401
import pytest
from config_run import SMALL, STAGE, make_data

import scripts.metrics.score_run  # noqa: F401
import scripts.training  # noqa: F401
from forked_program import run_program
from scripts.metrics.meteor import why_no_meteor

TINY: dict[str, Any] = {**SMALL, **STAGE["pretrain.json"], **STAGE["train.json"], "sample_captions": 1, "num_beams": 2}
TINY |= {"concept_reader": "", "calibration": "", "baselines": False, "epochs": 1}
GIVEN = ("device", "epochs", "pretrained")  # on the command line instead
pytestmark = pytest.mark.meteor


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
    paths = [bundle, *(Path(__file__).parent / name for name in ("ablation", "training"))]
    done = run_program(
        "-m", "monai.bundle", *arguments, cwd=bundle, env={"PYTHONPATH": os.pathsep.join(map(str, paths))}
    )
    assert done.returncode == 0 and "Traceback" not in done.stdout + done.stderr, done.stderr[-3000:]


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
    assert ("METEOR" in scores["skipped"]) == (why_no_meteor() is not None)

    run(tmp_path, bundle_root, ["inference.json"], **trained, output_dir=tmp_path / "captions",
        datalist=data / "datalist.json", section="validation")  # fmt: skip
    lines = [json.loads(line) for line in (tmp_path / "captions" / "captions.jsonl").read_text().splitlines()]
    evaluated = [json.loads(line) for line in (tmp_path / "scores" / "captions.jsonl").read_text().splitlines()]
    assert [line["error"] for line in lines] == [None] * 4
    assert [line["caption"] for line in lines] == [line["caption"] for line in evaluated]
