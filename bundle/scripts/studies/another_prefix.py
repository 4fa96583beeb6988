"""Study of what the prefix does: captions of images before which the prefix of another image stands.

    python -m scripts.studies.another_prefix --dataset_dir DIR [--count 100]

The Q-Formers' prefix is all that the language model sees of an image. Beams are guided besides by what the concept
reader reads. Were a caption no more than the language model's habit, or the reader's opinion, it would not matter whose
prefix stands there. So each image gets the prefix of another one, of another group and with another plane, modality or
organ, drawn once: first without the guide, then with the guide of the right image. Told is how often plane, modality
and organ of the caption change, and, where the two images differ in a field, whose value the caption then names.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch

from scripts.atomic import write_text_atomically
from scripts.concepts.fields import CaptionFields, read_fields, true_fields
from scripts.errors import InputError, WeightsError
from scripts.metrics.resampling import bootstrap
from scripts.metrics.statistic import mean_statistic
from scripts.metrics.tables import markdown_table
from scripts.networks.caption_network import CaptionNetwork
from scripts.studies.image_by_image import chosen_items, groups_of, measured, study_parser, weights_digest

ASKED = ("plane", "modality", "organ")
GUIDES = ("off", "on")


def truth_of(item: Mapping[str, Any]) -> dict[str, str | None]:
    """Right plane, modality and organ of an item."""
    return _asked(true_fields(item["caption"], item.get("fields")))


def _asked(fields: CaptionFields) -> dict[str, str | None]:
    return {name: getattr(fields, name) for name in ASKED}


def others_of(items: Sequence[Mapping[str, Any]], seed: int = 0) -> dict[str, Mapping[str, Any]]:
    """Image -> the item whose prefix it gets: drawn from those of other groups that differ in a field.

    Raises:
        InputError: an image has no such other.
    """
    draw, others = random.Random(seed), {}
    for item in items:
        group, truth = item.get("group"), truth_of(item)
        fit = [o for o in items if (group is None or o.get("group") != group) and truth_of(o) != truth]
        if not fit:
            raise InputError(f"{item['image']}: no image of another group has another plane, modality or organ")
        others[item["image"]] = draw.choice(fit)
    return others


@contextmanager
def without_guide(network: CaptionNetwork) -> Iterator[None]:
    """Within, beams are the language model's alone."""
    weight, network.concept_weight = network.concept_weight, 0.0
    try:
        yield
    finally:
        network.concept_weight = weight


def summary(
    results: Sequence[Mapping[str, Any]],
    items: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Shares with 95 % bootstrap intervals over groups: guide -> figure -> (share, low, high, images).

    Figures are ``changed FIELD`` and ``changed any``; and over all fields in which the two images differ, ``names the
    prefix's`` and ``names the image's``.

    Args:
        results: with ``image``, ``other`` and captions ``own`` and ``swapped`` by guide.
        items: image -> item of the datalist.
        groups: image -> its group.
    """
    table: dict[str, Any] = {}
    for guide in GUIDES:
        rows: dict[str, list[float]] = {}
        for result in results:
            own, swapped = (_asked(read_fields(result[kind][guide])) for kind in ("own", "swapped"))
            truth, other = (truth_of(items[result[kind]]) for kind in ("image", "other"))
            apart = [name for name in ASKED if truth[name] != other[name]]
            changed = {name: float(own[name] != swapped[name]) for name in ASKED}
            figures = {f"changed {name}": value for name, value in changed.items()}
            figures["changed any"] = max(changed.values())
            figures["names the prefix's"] = float(np.mean([swapped[name] == other[name] for name in apart]))
            figures["names the image's"] = float(np.mean([swapped[name] == truth[name] for name in apart]))
            for name, value in figures.items():
                rows.setdefault(name, []).append(value)
        units = [groups.get(result["image"]) for result in results] if groups else None
        table[guide] = {name: _share(name, values, units) for name, values in rows.items()}
    return table


def _share(name: str, values: Sequence[float], units: Sequence[str | None] | None) -> list[float]:
    found = bootstrap(mean_statistic(name, np.array(values)), groups=units)
    return [round(found.value, 4), round(found.low, 4), round(found.high, 4), len(values)]


def markdown(table: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """A row a figure, a column a guide."""
    rows = [
        [name, *("{:.2f} [{:.2f}, {:.2f}]".format(*table[guide][name]) for guide in GUIDES)] for name in table["off"]
    ]
    return markdown_table(["share of captions, prefix of another image", "guide off", "guide on"], rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write ``another_prefix.json`` and ``.md``; returns the exit status."""
    options = study_parser("another_prefix", __doc__).parse_args(arguments)
    try:
        table = _run(options)
    except (InputError, WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(markdown(table))
    write_text_atomically(options.output_dir / "another_prefix.json", json.dumps(table, indent=2) + "\n")
    write_text_atomically(options.output_dir / "another_prefix.md", markdown(table) + "\n")
    return 0


def _run(options: argparse.Namespace) -> dict[str, Any]:
    from scripts.predictor import CaptionPredictor

    items = chosen_items(options.dataset_dir, options.section, options.count, options.seed, options.skip)
    others = others_of(items)
    predictor = CaptionPredictor.from_bundle(options.bundle_root, findings="always", abstain_below=0.0)
    network = predictor.network

    @cache
    def seen(image: str) -> tuple[Any, Any]:
        """Prefix of an image and what its guide reads; each image is encoded once, though others borrow it."""
        with torch.inference_mode():
            encoded = network.encode(predictor.load(image)[0][None].to(predictor.device))
            return network.prefix(encoded), {"reader": encoded["reader"]}

    @cache
    def unguided(image: str) -> str:
        with without_guide(network):
            return network.captions(network.write(*seen(image)).token_ids)[0]

    def measure(item: Mapping[str, Any]) -> dict[str, Any]:
        image, other = item["image"], others[item["image"]]["image"]
        guided = [network.captions(network.write(seen(of)[0], seen(image)[1]).token_ids)[0] for of in (image, other)]
        return {
            "other": other,
            "own": {"off": unguided(image), "on": guided[0]},
            "swapped": {"off": unguided(other), "on": guided[1]},
            "caption": f"{guided[0]} / {guided[1]}",
        }

    settings = f"prefix {options.count} {weights_digest(predictor.provenance)}"
    results = measured(options.output_dir / "another_prefix_images.jsonl", settings, items, measure, options.at_most)
    return summary(results, {item["image"]: item for item in items}, groups_of(items))


if __name__ == "__main__":
    sys.exit(main())
