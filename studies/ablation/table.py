"""The table of an ablation: arms that were trained with several seeds each, against one reference arm.

``studies/ablation/run.py`` trains and captions; this reads what its runs left behind and makes the result.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scripts.errors import InputError
from scripts.metrics.caption_metrics import MEAN_FIELDS
from scripts.metrics.pairs import match, read_items
from scripts.metrics.protocols import protocol
from scripts.metrics.resampling import LEVEL, RESAMPLES, unit_of
from scripts.metrics.scores import Extras
from scripts.metrics.scoring import score_pairs
from scripts.metrics.seeds import SeedInterval, seed_difference, seed_interval, value_interval
from scripts.metrics.statistic import Statistic, mean_statistic
from scripts.metrics.tables import cell, interval_unit, markdown_table, number

__all__ = ["Arm", "SeedRun", "ablation_result", "as_markdown", "read_seed_run"]

FIELDS = ("plane", "modality", "organ")
SCORES = (*FIELDS, MEAN_FIELDS, "BLEU-4", "CIDEr-D")
STAGE_1_LOSS, CAPTION_LOSS = "stage-1 loss a branch", "caption loss"
RECALLS = {"recall@5, general": "general_i2t_recall@5", "recall@5, detail": "detail_i2t_recall@5"}
VALUES = (*RECALLS, STAGE_1_LOSS, CAPTION_LOSS)
_UNBOUNDED = ("CIDEr-D", STAGE_1_LOSS, CAPTION_LOSS)
BASELINES = ("commonest caption", "1-nearest neighbour")
PROTOCOL = "coco"

INTERVALS = """A cell is the mean over seeds with a 95 % interval for other seeds and other images: the squared standard
error is the variance between seeds, divided by their number, plus the bootstrap variance over {unit} of the mean over
seeds ({resamples:,} draws); the interval is Student's, with Satterthwaite's degrees of freedom. Differences are paired:
both arms are drawn on the same images. `*` marks an interval that excludes 0; of {comparisons} such comparisons about
one in twenty would do so if no arm differed at all. Retrieval and losses have one number a run: their intervals are of
seeds only. Baselines learn nothing and have no seeds: their intervals are of images only.""".replace("\n", " ")
ONE_SEED = (
    "**Rows with one seed, and differences with them, have intervals of images only. Another seed may turn them round, "
    "so they get no star.**"
)


@dataclass(frozen=True)
class SeedRun:
    """One trained seed of an arm.

    Args:
        seed: its number.
        statistics: score name to statistic over the images of the section, in the order of the datalist.
        values: what is one number a run: recall of stage 1, validation losses.
        seconds: what both stages and the captions took.
        groups: of the images, where the datalist names them.
    """

    seed: int
    statistics: Mapping[str, Statistic]
    values: Mapping[str, float]
    seconds: float = 0.0
    groups: Sequence[str | None] | None = None


@dataclass(frozen=True)
class Arm:
    """What was trained, in words, and its runs."""

    name: str
    title: str
    runs: Sequence[SeedRun] = field(default_factory=tuple)


def read_seed_run(
    seed: int,
    *,
    captions: str | Path,
    datalist: str | Path,
    section: str = "validation",
    stage1_history: str | Path | None = None,
    caption_history: str | Path | None = None,
    seconds: float = 0.0,
) -> SeedRun:
    """Score the captions of one run and read its histories.

    Args:
        seed: its number.
        captions: ``captions.jsonl`` of every image of the section.
        datalist: references.
        section: of the datalist.
        stage1_history, caption_history: ``history.json`` of the stages; None where there was none.
        seconds: what the run took.

    Raises:
        InputError: a file cannot be read, or an image has no caption.
    """
    pairs = match(read_items(captions), read_items(datalist, section), source=str(captions))
    scored = score_pairs(pairs, protocol(PROTOCOL), extras=Extras(meteor=False)).statistics()
    values: dict[str, float] = {}
    if stage1_history is not None:
        values |= _stage1_values(best_epoch(stage1_history))
    if caption_history is not None:
        values[CAPTION_LOSS] = best_epoch(caption_history)["validation_val_loss"]
    mean = np.mean([scored[name].per_image for name in FIELDS], axis=0)
    scored |= {MEAN_FIELDS: mean_statistic(MEAN_FIELDS, mean)}
    return SeedRun(seed, {name: scored[name] for name in SCORES}, values, seconds, pairs.units)


def best_epoch(history: str | Path) -> dict[str, float]:
    """The epoch of a ``history.json`` whose weights ``model.pt`` holds: the one with the lowest validation loss.

    Raises:
        InputError: the file is absent or records no validation.
    """
    path = Path(history)
    try:
        epochs = json.loads(path.read_text(encoding="utf-8"))["epochs"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} is no history of a training run ({error}); train this arm again") from None
    validated = [epoch for epoch in epochs if epoch.get("validation_val_loss") is not None]
    if not validated:
        raise InputError(f"{path} records no validation; train with val_interval 1")
    return min(validated, key=lambda epoch: epoch["validation_val_loss"])


def _stage1_values(epoch: Mapping[str, float]) -> dict[str, float]:
    recorded = {name: epoch.get(f"validation_{key}") for name, key in RECALLS.items()}
    values = {name: value for name, value in recorded.items() if value is not None}
    branches = max(1, len(values))  # losses of branches are summed: one branch would look half as bad as two
    return values | {STAGE_1_LOSS: epoch["validation_val_loss"] / branches}


def ablation_result(
    arms: Sequence[Arm], *, reference: str = "both", resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """All rows and differences, as it can be written to JSON; NaN is null.

    Args:
        arms: those with runs; each score is compared with the one named ``reference``, where that is among them.
        reference: name of an arm.
        resamples, seed: of the bootstrap over groups of images.

    Raises:
        InputError: no arm has a run, or arms are not of the same images.
    """
    trained = [arm for arm in arms if arm.runs]
    if not trained:
        raise InputError("no arm of this ablation has a finished run yet; run it without --report_only")
    base = next((arm for arm in trained if arm.name == reference), None)
    draws = {"resamples": resamples, "seed": seed}
    first = trained[0].runs[0]
    images = len(first.statistics[SCORES[0]].rows)
    drawn = {**draws, "groups": first.groups}
    rows = []
    for arm in trained:
        row: dict[str, Any] = {"arm": arm.name, "title": arm.title, "seeds": [run.seed for run in arm.runs]}
        row["hours"] = sum(run.seconds for run in arm.runs) / 3600
        row["scores"] = {name: seed_interval(_column(arm, name), **drawn) for name in SCORES}
        row["scores"] |= {name: value_interval(found) for name in VALUES if (found := _values(arm, name))}
        row["scores"] = {name: _within(_entry(interval), name) for name, interval in row["scores"].items()}
        if base is not None and arm is not base:
            row["difference"] = {
                name: _entry(change := seed_difference(_column(base, name), _column(arm, name), **drawn))
                | {"excludes_zero": change.excludes_zero and change.seeds > 1}
                for name in SCORES
            }
        row["by_seed"] = {run.seed: {name: run.statistics[name].value for name in SCORES} for run in arm.runs}
        for run in arm.runs:
            row["by_seed"][run.seed] |= run.values
        rows.append(row)
    return {
        "kind": "msmedcap ablation 1",
        "reference": reference if base is not None else None,
        "protocol": PROTOCOL,
        "images": images,
        "level": LEVEL,
        "bootstrap": {**draws, **unit_of(images, first.groups)},
        "arms": rows,
    }


def _column(arm: Arm, name: str) -> list[Statistic]:
    return [run.statistics[name] for run in arm.runs]


def _values(arm: Arm, name: str) -> list[float]:
    return [run.values[name] for run in arm.runs if run.values.get(name) is not None]


def _entry(interval: SeedInterval) -> dict[str, Any]:
    return {key: None if isinstance(v, float) and math.isnan(v) else v for key, v in asdict(interval).items()}


def _within(entry: dict[str, Any], name: str) -> dict[str, Any]:
    """Bounds cut at the ends of the scale: no accuracy is above 1, no score below 0."""
    highest = math.inf if name in _UNBOUNDED else 1.0
    cut = {key: min(highest, max(0.0, entry[key])) for key in ("low", "high") if entry[key] is not None}
    return entry | cut


def baseline_rows(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the baselines that an ``evaluation.json`` holds, with its intervals."""
    rows = []
    for name in BASELINES:
        found = {row["name"]: row for row in evaluation.get("systems", {}).get(name, [])}
        if found:
            known = [score for score in SCORES if score in found]
            scores = {score: {key: found[score][key] for key in ("value", "low", "high")} for score in known}
            rows.append({"arm": name, "scores": scores})
    return rows


def as_markdown(result: Mapping[str, Any]) -> str:
    """The tables, and in words how to read them."""
    arms = result["arms"]
    shown = [name for name in VALUES if any(name in row["scores"] for row in arms)]
    everything = [*arms, *result.get("baselines", [])]
    parts = [
        markdown_table(["", "seeds", *SCORES], [_row(row, SCORES) for row in everything]),
        markdown_table(["", "seeds", *shown], [_row(row, shown) for row in arms]),
    ]
    compared = [row for row in arms if "difference" in row]
    if compared:
        title = next(row["title"] for row in arms if row["arm"] == result["reference"])
        parts.append(f"Difference from **{title}** (above 0: the arm is better):")
        body = [[row["title"], *(_change(row["difference"][name]) for name in SCORES)] for row in compared]
        parts.append(markdown_table(["", *SCORES], body))
    comparisons = len(compared) * len(SCORES)
    parts.append(
        INTERVALS.format(
            resamples=result["bootstrap"]["resamples"],
            unit=interval_unit(result["bootstrap"]),
            comparisons=comparisons,
        )
    )
    if any(len(row["seeds"]) == 1 for row in arms):
        parts.append(ONE_SEED)
    return "\n\n".join(parts) + "\n"


def _row(row: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    seeds = str(len(row["seeds"])) if "seeds" in row else ""
    return [row.get("title", row["arm"]), seeds, *(_cell(row["scores"].get(name)) for name in names)]


def _cell(entry: Mapping[str, Any] | None) -> str:
    return cell(None if entry is None else {key: entry[key] for key in ("value", "low", "high")})


def _change(entry: Mapping[str, Any]) -> str:
    low, value, high = (_signed(entry[key]) for key in ("low", "value", "high"))
    return f"{value} [{low}, {high}]" + (" *" if entry["excludes_zero"] else "")


def _signed(value: float | None) -> str:
    return number(value) if value is None or value != value else f"{value:+.3f}"
