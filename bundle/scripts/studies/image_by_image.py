"""A study's images, and its results image by image, so that a stopped run goes on where it was."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scripts import BUNDLE
from scripts.data.datalist import load_datalist
from scripts.data.record_lines import read_json_lines
from scripts.errors import InputError


def study_parser(name: str, about: str | None) -> argparse.ArgumentParser:
    """Options of every study of this kind."""
    parser = argparse.ArgumentParser(prog=f"python -m scripts.studies.{name}", description=about)
    parser.add_argument("--dataset_dir", required=True, type=Path, help="folder with datalist.json")
    parser.add_argument("--section", default="validation", help="of the datalist (default %(default)s)")
    parser.add_argument("--count", type=int, default=100, help="images, evenly spread over the section")
    parser.add_argument("--seed", type=int, default=None, help="draw them at random by this seed instead")
    parser.add_argument("--skip", type=int, default=0, help="leave out so many of the first that a seed draws")
    parser.add_argument("--at_most", type=int, default=None, help="images in this call; call again to go on")
    parser.add_argument("--bundle_root", type=Path, default=BUNDLE, help="the bundle's folder")
    parser.add_argument(
        "--output_dir", type=Path, default=Path("runs") / name, help="of all results (default %(default)s)"
    )
    return parser


def chosen_items(
    folder: Path, section: str, count: int, seed: int | None = None, skip: int = 0
) -> list[dict[str, Any]]:
    """Items of single images of a section, in an order that mixes the section's parts.

    Args:
        folder: with ``datalist.json``; section: of it; count: how many.
        seed: draws them at random, in the drawn order; None takes them evenly spread over the section.
        skip: drawn first and left out, such as images on which a choice was made.

    Raises:
        InputError: the section holds no single images, or no more than are skipped.
    """
    items = load_datalist("datalist.json", section=section, dataset_dir=folder)
    single = [item for item in items if isinstance(item["image"], str)]
    if not single:
        raise InputError(f"{folder}: section {section!r} holds no single images; name another with --section")
    if seed is not None:
        drawn = np.random.default_rng(seed).permutation(len(single))[skip : skip + count]
        if not len(drawn):
            raise InputError(f"{folder}: section {section!r} holds {len(single)} single images: --skip leaves none")
        return [single[place] for place in drawn]
    if skip:
        raise InputError("--skip leaves out images that a seed draws first: give --seed, too")
    places = np.unique(np.linspace(0, len(single) - 1, min(count, len(single))).round().astype(int))
    chosen = [single[place] for place in places]
    return sorted(chosen, key=lambda item: hashlib.sha256(Path(item["image"]).name.encode()).digest())


def groups_of(items: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Image -> its group, where the datalist names one."""
    return {item["image"]: item["group"] for item in items if item.get("group")}


def weights_digest(provenance: Mapping[str, Any]) -> str:
    """What tells results of one checkpoint from those of another."""
    weights = json.dumps(provenance.get("weights") or {}, sort_keys=True)
    return hashlib.sha256(weights.encode()).hexdigest()[:16]


def measured(
    file: Path,
    settings: str,
    items: Sequence[Mapping[str, Any]],
    measure: Callable[[Mapping[str, Any]], dict[str, Any]],
    at_most: int | None = None,
) -> list[dict[str, Any]]:
    """Results of the items, one JSON line each; those in ``file`` with the same settings are not measured again.

    Args:
        file: where they are kept.
        settings: what a result depends on besides its image.
        items: with ``image``.
        measure: the result of an item; its ``caption``, if any, is printed as progress.
        at_most: new results in this call.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = read_json_lines(file) if file.is_file() else []
    kept = {line["image"]: line for line in lines if line["settings"] == settings}
    todo = [item for item in items if item["image"] not in kept][:at_most]
    for number, item in enumerate(todo, start=1):
        result = {"image": item["image"], "settings": settings, **measure(item)}
        kept[item["image"]] = result
        with file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(result) + "\n")
        print(f"{number} of {len(todo)}: {result.get('caption', item['image'])}", file=sys.stderr, flush=True)
    return [kept[item["image"]] for item in items if item["image"] in kept]
