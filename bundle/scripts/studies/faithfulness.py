"""Faithfulness study: hides what the maps highlight, hides other places, and compares.

    python -m scripts.studies.faithfulness --dataset_dir DIR [--count 100]

The picture is cut into nine equal tiles. Each is blurred away in turn, and the fall of every word's log-probability,
given the words before it, is noted. A word's highlighted tile is the one that holds most of its map; it is compared
with the other eight (what a random tile of the same size does, all draws taken), and with the tile in the middle, which
tells whether a map knows more than that things are usually centred. All methods are judged by the same nine questions.
The windows of "occlusion" differ from these tiles in number, size, place and filling; still, that method asks the same
kind of question that it is judged by. How much a method's maps differ from word to word is told beside: the mean
correlation between the maps of two content words of a caption. Results are kept image by image, so a stopped run goes
on where it was.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scripts.atomic import write_text_atomically
from scripts.errors import InputError, WeightsError
from scripts.explanation.geometry import content_box
from scripts.explanation.occlusion import Box, best_tile, blurred, hidden, tiles_of
from scripts.explanation.prefix_use import token_logprobs, word_logprobs
from scripts.explanation.word_maps import METHODS, explain
from scripts.explanation.words import content_words, plain_word, words_of
from scripts.networks.branch import encoder_tokens
from scripts.networks.caption_network import CaptionNetwork
from scripts.studies.faithfulness_table import likeness, markdown, table, told, word_kinds
from scripts.studies.image_by_image import chosen_items, groups_of, measured, study_parser, weights_digest


@torch.no_grad()
def falls_of_image(
    network: CaptionNetwork, image: Tensor, content: Box, *, methods: Sequence[str] = METHODS, side: int = 3,
    batch: int = 3,
) -> dict[str, Any]:  # fmt: skip
    """Caption an image, explain it, and hide its tiles one by one.

    Args:
        network: in eval mode.
        image: ``[3, S, S]`` letterboxed; content: where the picture lies in it.
        methods: of `explain`; side: tiles a row and a column; batch: images encoded at once.

    Returns:
        ``caption``, and ``words``: a list of ``word``, ``kind``, ``logprob``, ``falls`` (of its log-probability, by
        hidden tile, row by row) and ``highlighted`` (method -> tile). ``correlation``: method -> mean over pairs of
        different content words, None where there is no pair; ``seconds``: method -> what explaining took.
    """
    encoded = network.encode(image[None])
    made = network.generate(encoded, options=replace(network.options, num_beams=1))
    ids = made.token_ids[0, : int(made.lengths[0])]
    caption = network.decode(ids[None])[0]
    tiles = tiles_of(content, side)
    found, seconds = {}, {}
    for method in methods:
        start = time.perf_counter()
        found[method] = explain(network, encoded, image[None], made.token_ids, made.lengths, method)[0]
        seconds[method] = round(time.perf_counter() - start, 3)
    first = found[methods[0]]
    if not first.words:
        return {"caption": caption, "words": [], "correlation": dict.fromkeys(methods), "seconds": seconds}
    heat = {method: explanation.combined(image.shape[-1])[:, 0] for method, explanation in found.items()}
    falls = torch.tensor(first.logprobs) - _hidden_logprobs(network, image, ids, tiles, batch)
    words = [
        {"word": first.words[place], "kind": kind, "logprob": round(first.logprobs[place], 5),
         "falls": [round(value, 5) for value in falls[:, place].tolist()],
         "highlighted": {method: best_tile(heat[method][place], tiles) for method in methods}}
        for place, kind in word_kinds(first.words, caption).items()
    ]  # fmt: skip
    shown = (slice(content[0], content[2]), slice(content[1], content[3]))
    alike = {m: correlation(maps[:, *shown], first.words) for m, maps in heat.items()}
    return {"caption": caption, "words": words, "correlation": alike, "seconds": seconds}


def correlation(maps: Tensor, words: Sequence[str]) -> float | None:
    """Mean of Pearson's correlation over all pairs of different content words, None where there is no pair.

    Args:
        maps: ``[W, h, w]``; a map that prefers no place is in no pair.
    """
    texts = {place: plain_word(words[place]).lower() for place in content_words(words)}
    known = [place for place in texts if float(maps[place].std()) > 1e-3 * float(maps[place].mean())]
    pairs = [(a, b) for a, b in itertools.combinations(known, 2) if texts[a] != texts[b]]
    if not pairs:
        return None
    flat = maps.flatten(1).double()
    flat = flat - flat.mean(1, keepdim=True)
    flat = flat / flat.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return round(float(np.mean([float(flat[a] @ flat[b]) for a, b in pairs])), 5)


def _hidden_logprobs(network: CaptionNetwork, image: Tensor, ids: Tensor, tiles: Sequence[Box], batch: int) -> Tensor:
    """Log-probability of each word when each tile is hidden, ``[tiles, W]``."""
    words = words_of(network.tokenizer, ids.tolist())
    fill = blurred(image)
    after = []
    for start in range(0, len(tiles), batch):
        part = hidden(image, tiles[start : start + batch], fill)
        encoded = {name: encoder_tokens(branch.encoder, part) for name, branch in network.branches.items()}
        after.append(word_logprobs(token_logprobs(network.language_model, network.prefix(encoded)[0], ids), words))
    return torch.cat(after).cpu()


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = study_parser("faithfulness", __doc__)
    parser.add_argument(
        "--method", nargs="+", default=list(METHODS), choices=METHODS, help="maps to test (default: all)"
    )
    parser.add_argument("--side", type=int, default=3, help="tiles a row and a column")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table a method, write ``faithfulness.json`` and ``.md``; returns the exit status."""
    options = _arguments(arguments)
    try:
        summary = _run(options)
    except (InputError, WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    text = "\n\n".join(
        f"{method} ({summary['images']} images; {told(summary['likeness'][method])})\n\n{markdown(rows)}"
        for method, rows in summary["methods"].items()
    )
    print(text)
    write_text_atomically(options.output_dir / "faithfulness.json", json.dumps(summary, indent=2) + "\n")
    write_text_atomically(options.output_dir / "faithfulness.md", text + "\n")
    return 0


def _run(options: argparse.Namespace) -> dict[str, Any]:
    from scripts.predictor import CaptionPredictor

    items = chosen_items(options.dataset_dir, options.section, options.count)
    predictor = CaptionPredictor.from_bundle(options.bundle_root, findings="always", abstain_below=0.0)
    settings = f"correlation {' '.join(options.method)} {options.side} {weights_digest(predictor.provenance)}"

    def measure(item: Mapping[str, Any]) -> dict[str, Any]:
        pixels, meta = predictor.load(item["image"])
        content = content_box(meta.record()["resize"])
        image = pixels.to(predictor.device)
        return falls_of_image(predictor.network, image, content, methods=options.method, side=options.side)

    kept = options.output_dir / "faithfulness_images.jsonl"
    results, groups = measured(kept, settings, items, measure, options.at_most), groups_of(items)
    return {"section": options.section, "images": len(results), "tiles": options.side**2, "settings": settings,
            "unit": "group" if groups else "image",
            "methods": {method: table(results, method, groups) for method in options.method},
            "likeness": {method: likeness(results, method, groups) for method in options.method}}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
