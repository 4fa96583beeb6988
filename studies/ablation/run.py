"""The ablation of the paper at starter scale, by one command that may be stopped and called again.

    PYTHONPATH=bundle .venv/bin/python studies/ablation/run.py DATA [--pretrain_epochs 1] [--seeds 0 1 2]

Trains general branch only, detail branch only, both, both with channel tokens, and both without stage 1, from the text
encoder or from random, with the same data and seeds, from cached encoder tokens, and compares them. Writes
OUT/ablation.md and OUT/ablation.json.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bundle"), str(ROOT)]

from scripts.atomic import write_text_atomically  # noqa: E402
from scripts.errors import InputError  # noqa: E402
from scripts.kernels.precision import resolved  # noqa: E402
from studies.ablation.plan import ARMS, SECTION, Settings, recorded, sha256  # noqa: E402
from studies.ablation.runs import Ablation, collect  # noqa: E402
from studies.ablation.table import ablation_result, as_markdown, baseline_rows  # noqa: E402

START, END = "<!-- ablation -->", "<!-- /ablation -->"


def parser() -> argparse.ArgumentParser:
    shape = argparse.ArgumentParser(prog="studies/ablation/run.py", description=__doc__.splitlines()[0])
    add = shape.add_argument
    add("data", type=Path, help="folder with datalist.json and its images")
    add("--arms", nargs="+", choices=list(ARMS), default=list(ARMS), help="what to train (default: all)")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2], help="each arm is trained with each (default: 0 1 2)")
    add("--pretrain_epochs", type=int, default=1, help="passes of stage 1 (default: 1)")
    add("--caption_epochs", type=int, default=1, help="passes of stage 2 (default: 1)")
    add(
        "--instead_epochs",
        type=int,
        default=0,
        help="passes of stage 2 besides for arms without stage 1, so that they compute as much (default: 0)",
    )
    add(
        "--lora_rank", type=int, default=0, help="of the language model's adapters (default: 0, frozen as in the paper)"
    )
    add("--out", type=Path, default=Path("runs/ablation"), help="folder of the runs (default: runs/ablation)")
    add("--features", type=Path, help="feature cache (default: OUT/features; runs/starter/features has the starter's)")
    add("--limit", type=int, default=0, help="training cases used, for a quick look (default: 0, all)")
    add(
        "--amp",
        default="auto",
        help="precision of encoders and training (default: auto, bfloat16 where there are units for it)",
    )
    add("--jobs", type=int, default=1, help="runs at a time, each with its share of the cores (default: 1)")
    add("--cache_dtype", default="float16", choices=["float16", "int8", "float32"], help="how tokens are stored")
    add("--general_encoder", default="", help="its weights (default: the bundle's models/general_encoder.pt)")
    add("--overlay", nargs="+", default=[], help="config files laid over every stage of every arm")
    add("--bundle", type=Path, default=ROOT / "bundle", help=argparse.SUPPRESS)
    add("--resamples", type=int, default=1000, help="bootstrap draws over groups of images (default: 1000)")
    add("--page", type=Path, help="also put the tables between the markers of this page, such as docs/experiments.md")
    add("--keep", action="store_true", help="keep all checkpoints (default: those of finished runs are removed)")
    add("--report_only", action="store_true", help="train nothing, make the tables of what is finished")
    return shape


def settings_of(given: argparse.Namespace) -> Settings:
    """Checked settings of a command line.

    Raises:
        InputError: a number cannot be used.
    """
    for name in ("pretrain_epochs", "caption_epochs"):
        if getattr(given, name) < 1:
            raise InputError(f"--{name} must be 1 or more, not {getattr(given, name)}")
    if given.jobs < 1:
        raise InputError(f"--jobs must be 1 or more, not {given.jobs}")
    if min(given.limit, given.instead_epochs, given.lora_rank, *given.seeds) < 0:
        raise InputError("--limit, --instead_epochs, --lora_rank and --seeds take numbers from 0 on")
    return Settings(
        data=given.data,
        out=given.out,
        features=given.features or given.out / "features",
        pretrain_epochs=given.pretrain_epochs,
        caption_epochs=given.caption_epochs,
        instead_epochs=given.instead_epochs,
        lora_rank=given.lora_rank,
        limit=given.limit,
        amp=resolved(given.amp, "cuda" if torch.cuda.is_available() else "cpu"),
        cache_dtype=given.cache_dtype,
        general_encoder=given.general_encoder,
        overlays=tuple(given.overlay),
        bundle=given.bundle,
        keep=given.keep,
    )


def report(settings: Settings, *, resamples: int) -> dict[str, Any]:
    """Write ``ablation.json`` and ``ablation.md`` of all finished runs, with the settings that they were made with.

    Raises:
        InputError: there is none, or the datalist is not theirs.
    """
    known = recorded(settings.out)
    settings = replace(settings, limit=known["limit"])
    if not settings.datalist.is_file() or sha256(settings.datalist.read_bytes()) != known["datalist"]:
        raise InputError(f"{settings.datalist} is not the datalist that the runs in {settings.out} were made with")
    result = ablation_result(collect(settings), resamples=resamples)
    result |= {"baselines": _baselines(settings), "settings": known}
    result["hours"] = sum(row["hours"] for row in result["arms"])
    result["command"] = command_of(result)
    write_text_atomically(settings.out / "ablation.json", json.dumps(result, indent=1, allow_nan=False) + "\n")
    write_text_atomically(settings.out / "ablation.md", page_text(result))
    return result


def page_text(result: dict[str, Any]) -> str:
    """The tables with what is needed to make them again."""
    known = result["settings"]
    sizes, warmups = known["sizes"], known["warmup_steps"]
    hours = ", ".join(f"{row['arm']} {row['hours']:.2f}" for row in result["arms"])
    how = [
        f"Made by `{result['command']}`",
        f"(DATA is the folder of the datalist with SHA-256 `{known['datalist'][:16]}`):",
        f"{sizes['training']:,} training and {result['images']} {SECTION} images, protocol {result['protocol']};",
        f"stage 1 {known['pretrain_epochs']} and stage 2 {known['caption_epochs']} epochs{_besides(known)} "
        f"(warm-up {warmups[0]} and {warmups[1]} steps), {known['amp']}, general encoder "
        f"`{known['general_encoder'][:16]}`. The runs took {result['hours']:.2f} hours, added up ({hours}).",
    ]
    return "\n".join(how) + "\n\n" + as_markdown(result)


def _besides(known: dict[str, Any]) -> str:
    """What else an arm's training was made of, in words."""
    more = f", {known['instead_epochs']} more without stage 1" if known.get("instead_epochs") else ""
    return f"{more}, language model {'with LoRA' if known.get('lora_rank', 8) else 'frozen'}"


def command_of(result: dict[str, Any]) -> str:
    """The command that makes these runs again."""
    known = result["settings"]
    seeds = sorted({seed for row in result["arms"] for seed in row["seeds"]})
    words = ["PYTHONPATH=bundle .venv/bin/python studies/ablation/run.py DATA"]
    words += ["--pretrain_epochs", str(known["pretrain_epochs"]), "--caption_epochs", str(known["caption_epochs"])]
    words += ["--seeds", *map(str, seeds), "--arms", *(row["arm"] for row in result["arms"])]
    for name, default in {
        "instead_epochs": 0,
        "lora_rank": 0,
        "limit": 0,
        "amp": "bfloat16",
        "cache_dtype": "float16",
    }.items():
        if known.get(name, default) != default:
            words += [f"--{name}", str(known[name])]
    return " ".join([*words, *(["--overlay", *known["overlays"]] if known["overlays"] else [])])


def write_page(page: Path, text: str) -> None:
    """Put ``text`` between the markers of a page.

    Raises:
        InputError: the page has no markers.
    """
    content = page.read_text(encoding="utf-8") if page.is_file() else ""
    before, _, rest = content.partition(START)
    _, found, after = rest.partition(END)
    if not found:
        raise InputError(f"{page} has no {START} ... {END} to write between; give a page with both")
    write_text_atomically(page, f"{before}{START}\n{text}{END}{after}")


def _baselines(settings: Settings) -> list[dict[str, Any]]:
    """From the evaluation that scored them: all are of the same images."""
    for file in sorted(settings.out.glob("*/seed*/evaluate/evaluation.json")):
        if rows := baseline_rows(json.loads(file.read_text(encoding="utf-8"))):
            return rows
    return []


def _stop(*_: Any) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    try:
        settings = settings_of(given)
        failures: list[str] = []
        if not given.report_only:
            say = partial(print, flush=True)
            ablation = Ablation(settings, given.arms, given.seeds, jobs=given.jobs, say=say)
            ablation.run()
            failures = ablation.failures
        result = report(settings, resamples=given.resamples)
        if given.page:
            write_page(given.page, page_text(result))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    print(f"\n{page_text(result)}\nwritten to {settings.out / 'ablation.md'} and ablation.json")
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)  # as Ctrl-C does
    sys.exit(main())
