"""``docs/extending.md`` word for word: its recipes are followed on a copy of the bundle, and what they made is run."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from forked_program import run_program

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^`(bundle/[^`]+)`(?:, in `(\w+)`)?:\n\n```\w+\n(.*?)```", re.MULTILINE | re.DOTALL)


def recipes() -> dict[str, list[tuple[str, str, str]]]:
    """Heading -> (file, name of the list or dictionary that takes a line or "", text)."""
    sections = PAGE.split("\n## ")[1:]
    return {section.partition("\n")[0]: BLOCK.findall(section) for section in sections}


def insert(path: Path, name: str, line: str) -> None:
    """Put a line at the end of the list or dictionary ``name``, as somebody who edits the file does."""
    source = path.read_text(encoding="utf-8")
    start = re.search(rf"^{name}\b.*[\[{{]$", source, re.MULTILINE).end()
    end = re.compile(r"^[\]}]", re.MULTILINE).search(source, start).start()
    path.write_text(source[:end] + line + source[end:], encoding="utf-8")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process that uses all recipes at once found (below, under ``__main__``)."""
    folder = tmp_path_factory.mktemp("extended")
    for name in ("scripts", "configs"):
        shutil.copytree(ROOT / "bundle" / name, folder / "bundle" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for blocks in recipes().values():
        for file, name, text in blocks:
            if name:
                insert(folder / file, name, text)
            else:
                assert not (folder / file).exists(), f"{file} is there already"
                (folder / file).write_text(text, encoding="utf-8")
    (folder / "data").mkdir()
    paths = [folder / "bundle", *(ROOT / "tests" / part for part in ("training", "ablation"))]
    environment = {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    run = run_program(__file__, str(folder), cwd=folder, env=environment, fresh=["scripts"])
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
    return json.loads((folder / "results.json").read_text())


def test_each_recipe_edits_one_place() -> None:
    found = recipes()
    assert list(found) == [f"Add {what}" for what in ("a metric", "an output", "an encoder", "a data set",
                                                      "a language model")]  # fmt: skip
    for heading, blocks in found.items():
        edited = [file for file, name, _ in blocks if name]
        assert len(edited) <= 1, f"{heading} edits {edited}"
    assert all(len(block[2].splitlines()) <= 30 for blocks in found.values() for block in blocks)


def test_a_metric_stands_in_table_report_and_training(results: dict[str, Any]) -> None:
    assert results["training score"] == 0.5
    assert results["table"] and results["report"]


def test_a_data_set_is_its_datalist(results: dict[str, Any]) -> None:
    assert results["cases"] == {"training": 9, "validation": 1}


def test_an_encoder_learns_in_both_stages(results: dict[str, Any]) -> None:
    assert results["stage 1"] == "DinoEncoder" and results["stage 2"] == "DinoEncoder"
    assert results["prefix"] == [1, 8, 32]  # two branches' queries at the language model's width


def test_a_language_model_writes_and_an_output_keeps_it(results: dict[str, Any]) -> None:
    caption, row = results["captions"][0], results["spreadsheet"][1]
    assert caption["error"] is None and caption["caption"] and caption["weights"]
    assert row == [caption["image"], caption["caption"], str(caption["confidence"] or "")]


def make_reports(data: Path) -> None:
    """Ten pictures, and a table of what is reported of them."""
    import csv

    import ablation_parts
    import numpy as np
    from PIL import Image

    rows = [["patient", "file", "report"]]
    for number in range(10):
        pixels = np.random.default_rng(number).integers(0, 255, (64, 64), dtype=np.uint8)
        Image.fromarray(pixels).save(data / f"{number}.png")
        rows.append([str(number), f"{number}.png", f"ct of the {ablation_parts.WORDS[number]} ."])
    with (data / "reports.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def follow(folder: Path) -> dict[str, Any]:
    """Use what the recipes made: data set, encoder, language model, output, metric."""
    data = folder / "data"
    make_reports(data)
    snippet = re.search(r"## Add a data set.*?```python\n(.*?)```", PAGE, re.DOTALL).group(1)
    exec(snippet.replace('"DIR"', repr(str(data))), {})
    make_models(folder)
    return {**cases_of(data), **trained(folder, data), **captioned(folder, data), **scored(folder, data)}


def make_models(folder: Path) -> None:
    """An encoder in ``dino``, and a language model in ``writer``."""
    import ablation_parts
    import torch
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    size = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 56, "patch_size": 14}
    Dinov2Model(Dinov2Config(**size)).save_pretrained(folder / "dino")
    writer = ablation_parts.language_model()
    writer.model.save_pretrained(folder / "writer")
    writer.tokenizer.save_pretrained(folder / "writer")


def cases_of(data: Path) -> dict[str, Any]:
    from scripts.data import load_datalist

    options = {"dataset_dir": data, "require_caption": True}
    file, names = data / "datalist.json", ("training", "validation")
    return {"cases": {name: len(load_datalist(file, section=name, **options)) for name in names}}


def run(folder: Path, name: str, output: str, **changes: Any) -> Any:
    """A run of a config with the recipes' parts in it; its parser."""
    from config_run import run_workflow, settings_of
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config([str(folder / "bundle" / "configs" / file) for file in (name, "dino.json")])
    stage = "pretrain.json" if name == "pretrain.json" else "train.json"
    own = {"bundle_root": folder / "bundle", "general_encoder_weights": folder / "dino"}
    own = {key: str(value) for key, value in {**own, "feature_cache_dir": folder / "cache"}.items()}
    model = {} if stage == "pretrain.json" else {"language_model_name": str(folder / "writer"), "max_new_tokens": 5}
    settings = settings_of([stage], folder / "data", folder / output, **own, **model, epochs=1, **changes)
    for key in ("general_encoder#_target_", "language_model#_target_"):  # those of the recipes instead
        settings.pop(key, None)
    for key, value in settings.items():
        if key.partition("#")[0] in parser.config:
            parser[key] = value
    parser.parse()
    run_workflow(parser)
    return parser


def trained(folder: Path, data: Path) -> dict[str, Any]:
    """Both stages; the encoder of each, and the shape of the prefix."""
    import torch

    first = run(folder, "pretrain.json", "stage1")
    second = run(folder, "train.json", "stage2", pretrained=str(folder / "stage1" / "model.pt"))
    network = second.get_parsed_content("network")
    encoders = [type(stage.get_parsed_content("general_encoder")).__name__ for stage in (first, second)]
    prefix = list(network.image_prefix(network.encode(torch.rand(1, 3, 64, 64))).shape)
    return {"stage 1": encoders[0], "stage 2": encoders[1], "prefix": prefix}


def captioned(folder: Path, data: Path) -> dict[str, Any]:
    import csv

    out = folder / "captions"
    values = {"outputs": ["jsonl", "csv"], "concept_reader": "", "calibration": "", "num_beams": 2}
    weights = str(folder / "stage2" / "model.pt")
    run(folder, "inference.json", "captions", datalist=str(data / "datalist.json"), weights=weights, **values)
    lines = (out / "captions.jsonl").read_text().splitlines()
    return {
        "captions": [json.loads(line) for line in lines],
        "spreadsheet": list(csv.reader((out / "captions.csv").open())),
    }


def scored(folder: Path, data: Path) -> dict[str, Any]:
    """What the recipe's metric says in training, in the table and in the report."""
    from scripts.metrics import caption_scores
    from scripts.metrics.evaluate_files import Options, evaluate
    from scripts.metrics.report.__main__ import main as report
    from scripts.metrics.scores import Extras
    from scripts.metrics.tables import as_markdown

    found = {"training score": caption_scores(["a mass.", "a mass of the"], [["a mass."], ["a mass."]])["unfinished"]}
    options = Options(extras=Extras(meteor=False), resamples=2)
    result = evaluate(folder / "captions" / "captions.jsonl", data / "datalist.json", options)
    (folder / "evaluation.json").write_text(json.dumps(result))
    files = ["--evaluation", "evaluation.json", "--captions", "captions/captions.jsonl", "--datalist"]
    code = report([*files, "data/datalist.json", "--html", "report.html", "--markdown", "report.md"])
    told = code == 0 and "unfinished" in Path("report.html").read_text()
    return {**found, "table": "unfinished" in as_markdown(result), "report": told}


if __name__ == "__main__":
    target = Path(sys.argv[1])
    (target / "results.json").write_text(json.dumps(follow(target)))
