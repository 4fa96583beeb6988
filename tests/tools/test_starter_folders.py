"""The starter's script on several folders: joined first, every step reads the joined datalist. Steps are stand-ins."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
STAND_IN = """#!/bin/sh
case "$*" in
    *"datalist join"* | -c*) exec {python} "$@" ;;
esac
line=$(printf '%s|' "$@")
echo "$line" >>"$LOG" # in one piece: two steps run side by side
"""


def folder(path: Path, **sections: int) -> Path:
    path.mkdir(parents=True)
    content: dict[str, list[dict[str, str]]] = {}
    for section, count in sections.items():
        for number in range(count):
            image = path / f"{section}{number}.png"
            Image.effect_noise((40, 40), 30 + 10 * number).save(image)
            content.setdefault(section, []).append({"image": image.name, "caption": f"CT of the head {number}."})
    (path / "datalist.json").write_text(json.dumps(content))
    return path


def steps(tmp_path: Path, data: str) -> list[list[str]]:
    """Runs the script; the arguments of each of its Python commands."""
    python, out, bundle = tmp_path / "python", tmp_path / "out", tmp_path / "bundle"
    python.write_text(STAND_IN.format(python=sys.executable))
    python.chmod(0o755)
    (bundle / "models").mkdir(parents=True)
    environment = {**os.environ, "PYTHON": str(python), "BUNDLE": str(bundle), "LOG": str(tmp_path / "log")}
    environment["PYTHONPATH"] = str(ROOT / "bundle")
    command = ["sh", str(ROOT / "tools" / "starter.sh"), data, str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return [line.split("|") for line in (tmp_path / "log").read_text().splitlines()]


def values(step: list[str], option: str) -> list[str]:
    return [step[place + 1] for place, word in enumerate(step) if word == option]


@pytest.mark.parametrize("several", [True, False])
def test_every_step_reads_the_same_datalist(several: bool, tmp_path: Path) -> None:
    first = folder(tmp_path / "sets" / "a", training=3, validation=2)
    second = folder(tmp_path / "sets" / "b", training=2)
    run = steps(tmp_path, f"{first} {second}" if several else str(first))
    datalist = tmp_path / "out" / "datalist.json" if several else first / "datalist.json"
    root = tmp_path / "sets" if several else first
    blind = {"scripts.checkpoints.publish", "benchmarks/strange_pictures.py"}
    reading = [step for step in run if not blind & set(step)]
    assert len(reading) == 13 and any("scripts.studies.fit_familiarity" in step for step in reading)
    order = [place for place, step in enumerate(run) if "scripts.studies.calibrate" in step or "--also" in step]
    assert (
        "scripts.studies.calibrate" in run[order[0]] and order[-1] == len(run) - 1
    )  # scores are of calibrated captions
    for step in reading:
        assert values(step, "--dataset_dir") == [str(root)], step
        assert values(step, "--datalist") == [str(datalist)] or "scripts.commands.similar" in step, step
    assert [step[2] for step in reading if "scripts.commands.similar" in step] == [str(datalist)]
    assert datalist.is_file()
    if several:
        assert len(json.loads(datalist.read_text())["training"]) == 5


def test_weights_come_into_the_bundle_by_commands_that_correct_its_list_of_checksums(tmp_path: Path) -> None:
    run = steps(tmp_path, str(folder(tmp_path / "a", training=3, validation=2)))
    models = tmp_path / "bundle" / "models"
    assert not list(models.iterdir())  # steps are stand-ins here: whatever stands there now was copied by the script
    written = {step[-2]: step[2] for step in run if "scripts.checkpoints.publish" in step and str(models) in step[-2]}
    names = {"general_encoder.pt": "encoder", "concept_reader.safetensors": "reader", "model.pt": "model"}
    assert written == {str(models / name): kind for name, kind in names.items()}
