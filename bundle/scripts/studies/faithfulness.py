"""Faithfulness study: hides what the maps highlight, hides other places, and compares.

    python -m scripts.studies.faithfulness --dataset_dir DIR [--count 100]

The picture is cut into nine equal tiles. Each is blurred away in turn, and the fall of every word's log-probability,
given the words before it, is noted. A word's highlighted tile is the one that holds most of its map; it is compared
with the other eight (what a random tile of the same size does, all draws taken), and with the tile in the middle, which
tells whether a map knows more than that things are usually centred. All methods are judged by the same nine questions.
The windows of "occlusion" differ from these tiles in number, size, place and filling; still, that method asks the same
kind of question that it is judged by. How much a method's maps differ from word to word is told beside: the mean
correlation between the maps of two content words of a caption. Results are kept image by image, those of hiding apart
from those of each method, so a stopped run goes on where it was and a further method costs only itself.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
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
from scripts.explanation.word_maps import METHODS, Method, explain, methods_of
from scripts.explanation.words import content_words, plain_word, words_of
from scripts.kernels.precision import autocast
from scripts.networks.branch import encoder_tokens
from scripts.networks.caption_network import CaptionNetwork
from scripts.studies.faithfulness_table import joined, markdown, summarized, told, versus_text, word_kinds
from scripts.studies.image_by_image import chosen_items, groups_of, measured, study_parser, weights_digest


@torch.no_grad()
def falls_of_image(
    network: CaptionNetwork, image: Tensor, content: Box, *, side: int = 3, batch: int = 3
) -> dict[str, Any]:  # fmt: skip
    """Caption an image, and hide its tiles one by one.

    Args:
        network: in eval mode.
        image: ``[3, S, S]`` letterboxed; content: where the picture lies in it.
        side: tiles a row and a column; batch: images encoded at once.

    Returns:
        ``caption``, its ``token_ids``, and ``words``: a list of ``word``, its ``place`` in the caption, ``kind``,
        ``logprob`` and ``falls`` (of its log-probability, by hidden tile, row by row).
    """
    encoded = network.encode(image[None])
    made = network.generate(encoded, options=replace(network.options, num_beams=1))
    ids = made.token_ids[0, : int(made.lengths[0])]
    found = words_of(network.tokenizer, ids.tolist())
    texts, caption = [word.text for word in found], network.decode(ids[None])[0]
    words = []
    if found:
        before = word_logprobs(token_logprobs(network.language_model, network.prefix(encoded)[0], ids), found)[0].cpu()
        falls = before - _hidden_logprobs(network, image, ids, tiles_of(content, side), batch)
        words = [
            {"word": texts[place], "place": place, "kind": kind, "logprob": round(float(before[place]), 5),
             "falls": [round(value, 5) for value in falls[:, place].tolist()]}
            for place, kind in word_kinds(texts, caption).items()
        ]  # fmt: skip
    return {"caption": caption, "token_ids": ids.tolist(), "words": words}


@torch.no_grad()
def marked_in_image(
    network: CaptionNetwork,
    image: Tensor,
    content: Box,
    token_ids: Sequence[int],
    method: Method,
    side: int = 3,
    dtype: str = "float32",
) -> dict[str, Any]:
    """What a method's maps of a caption mark.

    Args:
        network, image, content, side: see :func:`falls_of_image`, which gave the ``token_ids``.
        method: of `explain`; dtype: precision in which it encodes images of its own.

    Returns:
        ``highlighted``: the tile of each word of the caption; ``made_by``: how each word's map was made;
        ``correlation``: mean over pairs of different content words, None where there is no pair; ``seconds``: of the
        processor, that explaining took.
    """
    encoded, ids = network.encode(image[None]), torch.tensor([token_ids])
    start = time.process_time()
    with autocast(image.device, dtype):
        (found,) = explain(network, encoded, image[None], ids, torch.tensor([len(token_ids)]), method)
    seconds = round(time.process_time() - start, 3)
    if not found.words:
        return {"highlighted": [], "made_by": [], "correlation": None, "seconds": seconds}
    heat, tiles = found.combined(image.shape[-1])[:, 0], tiles_of(content, side)
    alike = correlation(heat[:, content[0] : content[2], content[1] : content[3]], found.words)
    highlighted = [best_tile(one, tiles) for one in heat]
    return {"highlighted": highlighted, "made_by": found.methods, "correlation": alike, "seconds": seconds}


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
    parser.add_argument("--method", nargs="+", default=None, choices=METHODS, help="maps to test (default: all)")
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
        f"{method} ({alike['measured']} images; {told(alike)})\n\n{markdown(summary['methods'][method])}"
        for method, alike in summary["likeness"].items()
    )
    print(text + "\n\n" + versus_text(summary["versus"]))
    write_text_atomically(options.output_dir / "faithfulness.json", json.dumps(summary, indent=2) + "\n")
    write_text_atomically(options.output_dir / "faithfulness.md", text + "\n\n" + versus_text(summary["versus"]) + "\n")
    return 0


def _run(options: argparse.Namespace) -> dict[str, Any]:
    from scripts.predictor import CaptionPredictor

    items = chosen_items(options.dataset_dir, options.section, options.count, options.seed, options.skip)
    predictor = CaptionPredictor.from_bundle(options.bundle_root, findings="always", abstain_below=0.0)
    network, settings = predictor.network, f"{options.side} {weights_digest(predictor.provenance)}"

    def looked_at(item: Mapping[str, Any]) -> tuple[CaptionNetwork, Tensor, Box]:
        pixels, meta = predictor.load(item["image"])
        return network, pixels.to(predictor.device), content_box(meta.record()["resize"])

    def measure(name: str, items: Sequence[Mapping[str, Any]], of: Callable[..., dict]) -> list[dict[str, Any]]:
        return measured(options.output_dir / f"{name}.jsonl", f"{name} {settings}", items, of, options.at_most)

    falls = measure("falls", items, lambda item: falls_of_image(*looked_at(item), side=options.side))
    results, captions = {}, {result["image"]: result["token_ids"] for result in falls}
    captioned = [item for item in items if item["image"] in captions]
    for method in options.method or methods_of(network):

        def mark(item: Mapping[str, Any], method: Method = method) -> dict[str, Any]:
            return marked_in_image(*looked_at(item), captions[item["image"]], method, options.side, predictor.dtype)

        results[method] = joined(falls, measure(method, captioned, mark))
    return {"section": options.section, "seed": options.seed, "tiles": options.side**2, "settings": settings,
            **summarized(results, groups_of(items))}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
