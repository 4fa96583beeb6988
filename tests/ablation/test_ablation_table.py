"""The ablation's table: rows, differences and intervals from files as runs leave them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.errors import InputError
from scripts.metrics.evaluate_files import Options, evaluate
from scripts.metrics.scores import Extras
from studies.ablation.table import (
    Arm,
    SeedRun,
    ablation_result,
    as_markdown,
    baseline_rows,
    best_epoch,
    read_seed_run,
)

PLANES, ORGANS = ("Axial", "Sagittal", "Coronal"), ("head", "chest", "spine")


def caption(plane: int, organ: int) -> str:
    return f"{PLANES[plane % 3]} CT scan of the {ORGANS[organ % 3]} showing no abnormality."


@pytest.fixture
def datalist(tmp_path: Path) -> Path:
    entries = [{"image": f"images/{i}.png", "caption": caption(i, i // 3)} for i in range(60)]
    file = tmp_path / "datalist.json"
    file.write_text(json.dumps({"training": entries[:3], "validation": entries}))
    return file


def run(folder: Path, datalist: Path, seed: int, *, right_planes: int, **histories: Any) -> SeedRun:
    """A run that names the right plane in ``right_planes`` of 60 images, in an order of its seed, and all else."""
    right = set(np.random.default_rng(seed).permutation(60)[:right_planes].tolist())
    lines = [
        {"image": f"images/{i}.png", "caption": caption(i if i in right else i + 1, i // 3)}
        for i in reversed(range(60))
    ]
    file = folder / f"captions_{seed}_{right_planes}.jsonl"
    file.write_text("\n".join(json.dumps(line) for line in lines))
    return read_seed_run(seed, captions=file, datalist=datalist, seconds=360, **histories)


def history(folder: Path, name: str, *epochs: dict[str, float]) -> Path:
    file = folder / name
    file.write_text(json.dumps({"steps": [], "epochs": [{"epoch": i + 1, **e} for i, e in enumerate(epochs)]}))
    return file


def test_rows_and_paired_differences(tmp_path: Path, datalist: Path) -> None:
    arms = [
        Arm("both", "both branches", [run(tmp_path, datalist, s, right_planes=n) for s, n in enumerate((45, 46, 47))]),
        Arm(
            "general", "general only", [run(tmp_path, datalist, s, right_planes=n) for s, n in enumerate((15, 17, 16))]
        ),
        Arm("detail", "detail only", [run(tmp_path, datalist, s, right_planes=n) for s, n in enumerate((46, 45, 47))]),
        Arm("channel", "not yet trained"),
    ]
    result = ablation_result(arms, resamples=300)
    both, general, detail = result["arms"]
    assert result["images"] == 60 and both["seeds"] == [0, 1, 2] and both["hours"] == pytest.approx(0.3)
    assert both["scores"]["plane"]["value"] == pytest.approx(46 / 60)
    assert (
        both["scores"]["organ"]["value"] == 1 and both["scores"]["organ"]["low"] == both["scores"]["organ"]["high"] == 1
    )
    assert general["by_seed"][1]["plane"] == pytest.approx(17 / 60) and "difference" not in both
    change = general["difference"]["plane"]
    assert change["value"] == pytest.approx(-0.5) and change["excludes_zero"] and change["high"] < 0
    change = detail["difference"]["plane"]
    assert change["value"] == pytest.approx(0) and change["low"] < 0 < change["high"] and not change["excludes_zero"]
    json.dumps(result, allow_nan=False)
    few = ablation_result([Arm("both", "both branches", arms[0].runs[:2])], resamples=50)["arms"][0]["scores"]["plane"]
    assert few["high"] <= 1 and few["low"] >= 0  # two seeds: Student's interval alone would leave the scale
    text = as_markdown(result)
    assert "| general only | 3 | 0.267 [" in text and "| general only | -0.500 [" in text and "] * |" in text
    detail_line = next(line for line in text.splitlines() if line.startswith("| detail only | +0.000"))
    assert "*" not in detail_line and "of 12 such comparisons" in text and "not yet trained" not in text


def test_a_difference_of_one_seed_gets_no_star(tmp_path: Path, datalist: Path) -> None:
    """Its interval holds for other images, and another seed may turn it round."""
    arms = [
        Arm("both", "both branches", [run(tmp_path, datalist, s, right_planes=46 + s) for s in range(2)]),
        Arm("general", "general only", [run(tmp_path, datalist, 5, right_planes=15)]),
    ]
    result = ablation_result(arms, resamples=100)
    change = result["arms"][1]["difference"]["plane"]
    assert change["high"] < 0 and change["seeds"] == 1 and not change["excludes_zero"]
    text = as_markdown(result)
    assert "] *" not in text and "so they get no star" in text


def test_intervals_are_over_the_groups_of_the_datalist(tmp_path: Path, datalist: Path) -> None:
    content = json.loads(datalist.read_text())
    for i, item in enumerate(content["validation"]):
        item["group"] = f"g{i % 20}"
    runs = [run(tmp_path, datalist, 0, right_planes=30)]
    alone = ablation_result([Arm("both", "both", runs)], resamples=100)
    datalist.write_text(json.dumps(content))
    runs = [run(tmp_path, datalist, 0, right_planes=30)]
    grouped = ablation_result([Arm("both", "both", runs)], resamples=100)
    assert (alone["bootstrap"]["unit"], grouped["bootstrap"]["unit"], grouped["bootstrap"]["units"]) == (
        "image", "group", 20,
    )  # fmt: skip
    assert grouped["arms"][0]["scores"]["plane"]["low"] != alone["arms"][0]["scores"]["plane"]["low"]
    assert "variance over 20 groups of images of the mean" in as_markdown(grouped)


def test_scores_are_those_of_the_evaluation(tmp_path: Path, datalist: Path) -> None:
    """The same file through ``scripts.metrics.evaluate``, which has its own tests."""
    found = run(tmp_path, datalist, 4, right_planes=30)
    expected = evaluate(tmp_path / "captions_4_30.jsonl", datalist, Options(extras=Extras(meteor=False), resamples=0))
    table = {row["name"]: row["value"] for row in expected["systems"]["predictions"]}
    table["field mean"] = (table["plane"] + table["modality"] + table["organ"]) / 3
    assert {name: s.value for name, s in found.statistics.items()} == pytest.approx(
        {n: table[n] for n in found.statistics}
    )


def test_histories_give_the_values_of_the_kept_epoch(tmp_path: Path, datalist: Path) -> None:
    stage1 = history(
        tmp_path,
        "stage1.json",
        {"validation_val_loss": 9.0, "validation_general_i2t_recall@5": 0.1, "validation_detail_i2t_recall@5": 0.0},
        {"validation_val_loss": 8.0, "validation_general_i2t_recall@5": 0.2, "validation_detail_i2t_recall@5": 0.1},
        {"validation_val_loss": 8.5, "validation_general_i2t_recall@5": 0.3, "validation_detail_i2t_recall@5": 0.2},
    )
    one = history(tmp_path, "one.json", {"validation_val_loss": 5.0, "validation_general_i2t_recall@5": 0.25})
    stage2 = history(tmp_path, "stage2.json", {"validation_val_loss": 2.5}, {"loss": 1.0})
    found = run(tmp_path, datalist, 0, right_planes=9, stage1_history=stage1, caption_history=stage2).values
    expected = {"recall@5, general": 0.2, "recall@5, detail": 0.1, "stage-1 loss a branch": 4.0, "caption loss": 2.5}
    assert found == expected
    single = run(tmp_path, datalist, 1, right_planes=9, stage1_history=one).values
    assert single == {"recall@5, general": 0.25, "stage-1 loss a branch": 5.0}
    arms = [Arm("general", "general only", [run(tmp_path, datalist, 1, right_planes=9, stage1_history=one)])]
    text = as_markdown(ablation_result(arms, resamples=50))
    assert "| general only | 1 | 0.250 | 5.000 |" in text and "intervals of images only" in text


def test_baselines_stand_in_the_table(tmp_path: Path, datalist: Path) -> None:
    run(tmp_path, datalist, 0, right_planes=20)
    options = Options(extras=Extras(meteor=False), resamples=20, baselines=True, images=tmp_path)
    rows = baseline_rows(evaluate(tmp_path / "captions_0_20.jsonl", datalist, options))
    assert [row["arm"] for row in rows] == ["commonest caption"]  # there are no pictures: no nearest neighbour
    arms = [Arm("both", "both branches", [run(tmp_path, datalist, 0, right_planes=20)])]
    text = as_markdown(ablation_result(arms, resamples=20) | {"baselines": rows})
    assert "| commonest caption |  | 0.333 [" in text


def test_what_is_missing_is_named(tmp_path: Path, datalist: Path) -> None:
    with pytest.raises(InputError, match="no arm of this ablation has a finished run"):
        ablation_result([Arm("both", "both branches")])
    with pytest.raises(InputError, match="absent.json is no history"):
        best_epoch(tmp_path / "absent.json")
    with pytest.raises(InputError, match="records no validation"):
        best_epoch(history(tmp_path, "empty.json", {"loss": 1.0}))
    short = tmp_path / "short.jsonl"
    short.write_text(json.dumps({"image": "images/0.png", "caption": "x"}))
    with pytest.raises(InputError, match="59 of 60 references have no prediction"):
        read_seed_run(0, captions=short, datalist=datalist)
