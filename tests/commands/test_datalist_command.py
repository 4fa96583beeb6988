"""Datalists from the command line, trained on and evaluated with the bundle's own configs at tiny sizes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path[:0] = [str(Path(__file__).parents[1] / name) for name in ("data", "training", "")]
import made_sets  # noqa: E402
from config_run import BUNDLE, read_config, run_config, run_workflow  # noqa: E402

from scripts.commands.datalist import main  # noqa: E402

TINY = {"image_size": 64, "feature_cache_dir": "", "val_interval": 1, "sample_captions": 1}


@pytest.fixture(autouse=True)
def _no_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)


def built(tree: str, root: Path, *options: str) -> Path:
    name, make = made_sets.SETS[tree]
    make(root)
    assert main([name, "--source", str(root), "--output", str(root / "datalist.json"), "--quiet", *options]) == 0
    return root


def test_pretraining_learns_two_steps_from_every_set(tmp_path: Path) -> None:
    """One run, a phase a set: each phase lasts a round of as many cases as the smallest set has."""
    phases: list[dict[str, Any]] = []
    trees = [tree for tree in made_sets.SETS if "parquet" not in tree or _has("pyarrow")]
    for tree in trees:
        root = built(tree, tmp_path / tree.replace(" ", "_"), "--slices", "2")
        count = len(json.loads((root / "datalist.json").read_text())["training"])
        phases.append({"name": tree, "datalist": str(root / "datalist.json"), "epochs": 3 / count})
    first = tmp_path / "roco"
    parser = run_config(["pretrain.json"], first, tmp_path / "out", phases=phases, **{**TINY, "val_interval": 1000})
    trainer = parser.get_parsed_content("train#trainer")
    assert trainer.state.epoch == len(trees)
    assert trainer.state.iteration == 2 * len(trees)  # three cases, two a batch
    history = json.loads((tmp_path / "out" / "history.json").read_text())
    assert history


@pytest.mark.parametrize("tree", ["r2gen", "table", "ct-rate"])
def test_captions_train_and_are_evaluated(tree: str, tmp_path: Path) -> None:
    root = tmp_path / "set"
    if tree == "table":
        for number in range(8):
            made_sets.picture(root / "img" / f"{number}.png")
        rows = [(f"img/{n}.png", f"ct of the chest {n}", f"p{n}", "train" if n < 5 else "val") for n in range(8)]
        made_sets.table(root / "mine.csv", ["path", "caption", "patient_id", "split"], rows)
        words = ["table", "--source", str(root), "--output", str(root / "datalist.json"), "--quiet"]
        assert main(words) == 0
    else:
        built(tree, root, *(["--slices", "3"] if tree == "ct-rate" else []))
    run_config(["train.json"], root, tmp_path / "run", epochs=1, **TINY)
    assert (tmp_path / "run" / "model.pt").is_file()
    parser = read_config(
        ["train.json", "evaluate.json"],
        root,
        tmp_path / "eval",
        weights=str(tmp_path / "run" / "model.pt"),
        baselines=False,
        concept_reader="",
        lora_rank=0,
        **TINY,
    )
    run_workflow(parser)
    result = json.loads((tmp_path / "eval" / "evaluation.json").read_text())
    expected = json.loads((root / "datalist.json").read_text())["validation"]
    assert result["images"] == len(expected) and not result["failed"]
    submission = tmp_path / "eval" / "submission.csv"
    assert submission.is_file() == (tree != "r2gen")  # its files are called 0.png and 1.png, which are no IDs
    if tree != "r2gen":
        lines = submission.read_text().splitlines()
        assert lines[0] == "ID,Caption" and len(lines) == 1 + len(expected)


def test_command_line_from_the_bundle_folder(tmp_path: Path) -> None:
    made_sets.medpix2(tmp_path)
    command = [sys.executable, "-m", "scripts.commands.datalist", "medpix2", "--source", str(tmp_path)]
    done = subprocess.run([*command, "--output", str(tmp_path / "d.jsonl")], cwd=BUNDLE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "d.jsonl: 4 training, 4 validation, 4 test" in done.stdout


def test_exit_codes_and_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    assert "mimic-cxr" in capsys.readouterr().out
    assert main(["roco", "--source", str(tmp_path), "--output", str(tmp_path / "d.json")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    made_sets.rocov2(tmp_path)
    (tmp_path / "train" / "ROCOv2_2023_train_000001.jpg").unlink()
    words = ["rocov2", "--source", str(tmp_path), "--output", str(tmp_path / "d.json")]
    assert main(words) == 1
    assert "8% of the image files are missing" in capsys.readouterr().err
    assert (tmp_path / "d.json.missing.txt").read_text() == "train/ROCOv2_2023_train_000001.jpg\n"
    assert main([*words, "--max-missing", "0.2"]) == 0
    capsys.readouterr()
    assert main(["check", str(tmp_path / "d.json")]) == 0
    assert "all is well" in capsys.readouterr().out
    assert main(["look", str(tmp_path / "d.json"), "--output", str(tmp_path / "look")]) == 0
    assert main(["leaks", str(tmp_path / "d.json")]) in (0, 1)


def _has(package: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(package) is not None
