"""Score one file of captions against another, beside the baselines, in one table.

    python -m scripts.metrics --predictions captions.jsonl --references datalist.json --split validation --baselines

Every figure carries its protocol, its bootstrap 95 % interval over groups of images and the versions that made it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scripts.concepts.fields import true_fields
from scripts.errors import InputError, WeightsError
from scripts.metrics.baselines import cached_features, commonest_caption, nearest_captions
from scripts.metrics.bertscore import BertScorer
from scripts.metrics.clinical import CLINICAL, clinical_scores
from scripts.metrics.leaked import leak_warnings
from scripts.metrics.pairs import Item, Pairs, match, read_items
from scripts.metrics.protocols import PROTOCOLS, Protocol, protocol
from scripts.metrics.reliance import image_reliance
from scripts.metrics.resampling import LEVEL, RESAMPLES, Groups, compare, unit_of
from scripts.metrics.scores import Extras
from scripts.metrics.scoring import Scores, score_pairs
from scripts.metrics.tables import as_markdown, as_text
from scripts.metrics.versions import versions

SYSTEM, COMMONEST, NEAREST = "predictions", "commonest caption", "1-nearest neighbour"
RELIANCE = "image reliance"
DEFAULT_CACHE = Path.home() / ".cache" / "msmedcap" / "baselines"


def training_items(references: str | Path) -> list[Item]:
    """The training split of a datalist; empty where the file has none."""
    try:
        return read_items(references, "training")
    except InputError:
        return []


def baseline_captions(
    training: Sequence[Item], images: Sequence[str], folder: str | Path, cache_dir: str | Path = DEFAULT_CACHE
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Captions of both baselines for `images`, and for one that could not run the reason.

    Args:
        training: items whose captions are retrieved.
        images: paths of the images to caption, relative to `folder`.
        folder: where the pictures of both lie.
        cache_dir: where pooled features are kept.
    """
    if not training:
        reason = "the references file has no training split"
        return {}, {COMMONEST: reason, NEAREST: reason}
    captions = [item.captions[0] for item in training]
    systems = {COMMONEST: [commonest_caption(captions)] * len(images)}
    try:
        bank = cached_features([Path(folder) / item.image for item in training], cache_dir)
        queries = cached_features([Path(folder) / image for image in images], cache_dir)
    except (InputError, WeightsError) as error:
        return systems, {NEAREST: str(error)}
    systems[NEAREST] = nearest_captions(bank, queries, captions)
    return systems, {}


def _comparisons(scored: dict[str, Scores], resamples: int, seed: int, groups: Groups | None) -> list[dict[str, Any]]:
    """How far the predictions are from each baseline, score by score, with a paired test."""
    own = {s.name: (group, s) for group, members in scored[SYSTEM].groups.items() for s in members}
    rows = []
    for name, scores in scored.items():
        if name == SYSTEM:
            continue
        for score, statistic in scores.statistics().items():
            if score in own:
                group, mine = own[score]
                difference = compare(statistic, mine, resamples=resamples, seed=seed, groups=groups)
                rows.append({"against": name, "group": group, "name": score, **vars(difference)})
    return rows


def by_modality(pairs: Pairs, chosen: Protocol, smallest: int = 5) -> list[dict[str, Any]]:
    """Field accuracy and text scores of each modality with at least `smallest` images, commonest first.

    CIDEr-D is left out: its document frequencies belong to the whole corpus.
    """
    groups: dict[str, list[int]] = {}
    for i, modality in enumerate(modality_names(pairs)):
        groups.setdefault(modality, []).append(i)
    rows = []
    for modality, members in sorted(groups.items(), key=lambda group: -len(group[1])):
        if len(members) >= smallest:
            part = select(pairs, members)
            statistics = score_pairs(part, chosen, extras=Extras(meteor=False)).statistics()
            names = ("plane", "modality", "organ", "abnormality", "BLEU-4", "ROUGE-L")
            row = {name: statistics[name].value for name in names}
            rows.append({"kind": modality, "images": len(members), **row})
    return rows


def modality_names(pairs: Pairs) -> list[str]:
    """The modality of each image: the datalist's, else the family that its reference caption tells, else "unknown"."""
    told = [true_fields(r, f).family for r, f in zip(pairs.first_references, pairs.fields, strict=True)]
    return [known or family or "unknown" for known, family in zip(pairs.modalities, told, strict=True)]


def select(pairs: Pairs, members: Sequence[int]) -> Pairs:
    """The pairs at these places."""
    lists = ("images", "predictions", "references", "fields", "modalities", "groups", "parts")
    return replace(pairs, **{name: [getattr(pairs, name)[i] for i in members] for name in lists})


def read_named(files: Mapping[str, str | Path], pairs: Pairs) -> dict[str, list[str]]:
    """Captions of other files, by the files' names, in the order of `pairs`."""
    wanted = [Item(image, ("",)) for image in pairs.images]
    return {kind: match(read_items(path), wanted, source=str(path)).predictions for kind, path in files.items()}


@dataclass(frozen=True)
class Options:
    """What to evaluate, and how.

    Args:
        split: split of the datalist (default: validation, or the only one).
        protocol: `coco` or `imageclef`.
        baselines: also score the commonest caption and 1-nearest-neighbour retrieval.
        images: folder of the pictures (default: the folder of the references); 1-nearest-neighbour reads them.
        cache_dir: where the pictures' pooled features are kept.
        extras: scores that need Java or a model.
        clinical: names of clinical scores (`scripts.metrics.clinical`).
        also: name to the file of captions of other systems, such as the method alone or the concept reader alone.
        replaced: kind of replaced image ("blank", "noise", "other patient") to the file of its captions.
        allow_missing: score only references that have a prediction.
        resamples: bootstrap and permutation draws; 0 gives no intervals.
        seed: seed of the draws.
    """

    split: str | None = None
    protocol: str = "coco"
    baselines: bool = False
    images: str | Path | None = None
    cache_dir: str | Path = DEFAULT_CACHE
    extras: Extras = field(default_factory=Extras)
    clinical: tuple[str, ...] = ()
    also: Mapping[str, str | Path] = field(default_factory=dict)
    replaced: Mapping[str, str | Path] = field(default_factory=dict)
    allow_missing: bool = False
    resamples: int = RESAMPLES
    seed: int = 0


def evaluate(predictions: str | Path, references: str | Path, options: Options | None = None) -> dict[str, Any]:
    """Score a file of captions against a file of references; the result can be written as JSON.

    Args:
        predictions: `captions.jsonl`, JSON list or CSV.
        references: datalist, JSON Lines or CSV.
        options: how.

    Raises:
        InputError: a file cannot be used, or images do not match.
    """
    options = options or Options()
    chosen = protocol(options.protocol)
    items = read_items(references, options.split)
    pairs = match(read_items(predictions), items, allow_missing=options.allow_missing, source=str(predictions))
    training = training_items(references)
    systems, unavailable = _systems(pairs, training, Path(references).parent, options)
    texts = [item.captions[0] for item in training]
    scored = {name: score_pairs(p, chosen, training=texts, extras=options.extras) for name, p in systems.items()}
    if options.clinical:
        scored[SYSTEM].add_clinical(clinical_scores(options.clinical, pairs))
    if options.replaced:
        captions = read_named(options.replaced, pairs)
        scored[SYSTEM].groups[RELIANCE] = image_reliance(
            pairs.predictions, captions, pairs.first_references, pairs.fields
        )
    draws = {"resamples": options.resamples, "seed": options.seed}
    return {
        "kind": "msmedcap evaluation 1",
        "predictions": Path(predictions).name,
        "references": Path(references).name,
        "split": options.split,
        "images": len(pairs.images),
        "failed": pairs.failed,
        "missing": pairs.missing,
        "protocol": chosen.name,
        "tokenizer": chosen.tokenizer,
        "bootstrap": {**draws, "level": LEVEL, **unit_of(len(pairs.images), pairs.units)},
        "versions": versions(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "systems": {name: scores.rows(**draws, groups=pairs.units) for name, scores in scored.items()},
        "skipped": {**scored[SYSTEM].skipped, **unavailable},
        "comparisons": _comparisons(scored, **draws, groups=pairs.units) if options.resamples > 0 else [],
        "by_modality": by_modality(pairs, chosen),
        "warnings": leak_warnings(pairs.images, pairs.first_references, [item.image for item in training], texts),
    }


def _systems(
    pairs: Pairs, training: Sequence[Item], folder: Path, options: Options
) -> tuple[dict[str, Pairs], dict[str, str]]:
    """The predictions, other systems and baselines, and the reasons for those that cannot run."""
    captions = read_named(options.also, pairs)
    unavailable: dict[str, str] = {}
    if options.baselines:
        made, unavailable = baseline_captions(training, pairs.images, options.images or folder, options.cache_dir)
        captions |= made
    return {SYSTEM: pairs} | {name: replace(pairs, predictions=texts) for name, texts in captions.items()}, unavailable


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.metrics", description=__doc__.splitlines()[0])
    parser.add_argument("--predictions", required=True, help="captions.jsonl, a JSON list, or an ID,Caption CSV")
    parser.add_argument("--references", required=True, help="datalist.json, JSON Lines, or an ID,Caption CSV")
    parser.add_argument("--split", help="split of the datalist (default: validation)")
    parser.add_argument("--protocol", default="coco", choices=sorted(PROTOCOLS), help="how words are cut")
    parser.add_argument("--baselines", action="store_true", help="also score commonest caption and 1-NN retrieval")
    parser.add_argument("--images", help="folder of the pictures (default: beside the references)")
    parser.add_argument("--cache-dir", default=str(DEFAULT_CACHE), help="where pooled image features are kept")
    parser.add_argument("--no-meteor", action="store_true", help="do not start METEOR's Java program")
    parser.add_argument("--spice", action="store_true", help="start SPICE's Java program")
    parser.add_argument("--bertscore", metavar="FOLDER", help="model folder for BERTScore")
    parser.add_argument(
        "--bertscore-layer",
        type=int,
        help="hidden layer of BERTScore (default: the published one of a known model, else the last)",
    )
    parser.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="captions of another system for the same table, such as 'method alone=captions.jsonl'; may be repeated",
    )
    parser.add_argument(
        "--replaced",
        action="append",
        default=[],
        metavar="KIND=FILE",
        help="captions of replaced images, such as blank=blank.jsonl; may be repeated",
    )
    parser.add_argument(
        "--clinical",
        nargs="+",
        default=(),
        choices=sorted(CLINICAL),
        help="clinical scores; each is refused for images that it is not made for",
    )
    parser.add_argument("--allow-missing", action="store_true", help="score only references that have a prediction")
    parser.add_argument("--resamples", type=int, default=RESAMPLES, help="bootstrap draws (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap draws")
    parser.add_argument("--json", help="write the whole result here")
    parser.add_argument("--markdown", help="write the table here")
    return parser


def _named_files(option: str, given: Sequence[str]) -> dict[str, str]:
    wrong = [text for text in given if "=" not in text]
    if wrong:
        raise InputError(f"{option} {wrong[0]}: write NAME=FILE, such as blank=captions_blank.jsonl")
    return dict(text.split("=", 1) for text in given)


def _options(given: argparse.Namespace) -> Options:
    bert = None
    if given.bertscore:
        # ImageCLEF fixes layer and weights of words by document frequency; COCO knows no BERTScore of its own
        is_clef = given.protocol == "imageclef"
        bert = BertScorer(folder=given.bertscore, layer=given.bertscore_layer, idf=is_clef, published_only=is_clef)
    values = {field.name: getattr(given, field.name) for field in fields(Options) if field.name in given}
    values |= {name: _named_files(f"--{name}", values[name]) for name in ("also", "replaced")}
    return Options(**values, extras=Extras(meteor=not given.no_meteor, spice=given.spice, bert=bert))


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    given = _parser().parse_args(arguments)
    try:
        result = evaluate(given.predictions, given.references, _options(given))
        if given.json:
            Path(given.json).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        if given.markdown:
            Path(given.markdown).write_text(as_markdown(result), encoding="utf-8")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(as_text(result))
    return 0
