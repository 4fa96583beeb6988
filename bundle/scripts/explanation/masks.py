"""Masks of words on the image as it was read: the form in which explanations leave the program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from scripts.explanation.geometry import file_of_view, to_source
from scripts.explanation.regions import peak_box
from scripts.explanation.word_maps import Explanation
from scripts.explanation.words import content_words, plain_word

SIDE = 256


@dataclass(frozen=True)
class WordMask:
    """The region of one word.

    Attributes:
        word: its place in the caption's words.
        text: without the punctuation around it.
        view: of the case; the region is in this one.
        mask: ``[H, W]`` bool in the view as read.
        source: "mask decoder", or "map" where there is none (the part of the map around its peak).
        logprob: of the word.
        share: branch -> how much of the word's reliance falls on it.
        method: how the word's map was made.
    """

    word: int
    text: str
    view: int
    mask: np.ndarray
    source: str
    logprob: float
    share: Mapping[str, float]
    method: str | None


def word_masks(explanation: Explanation, meta: Mapping[str, Any]) -> list[WordMask]:
    """Regions of all content words, in the geometry of the image as read.

    Args:
        explanation: of the case.
        meta: ``record["trace"]["input"]``, with what the letterbox did.
    """
    chosen = content_words(explanation.words)
    if not chosen or not explanation.maps:
        return []
    heat = explanation.combined(SIDE)  # [W, V, S, S]
    regions = explanation.regions
    found = []
    for word in chosen:
        view, square, source = _region(heat[word], None if regions is None else regions[word])
        resize = file_of_view(meta, view)[0]["resize"]
        mask = to_source(square[None], resize)[0] > 0
        if not bool(mask.any()):
            continue
        share = {name: float(values[word]) for name, values in explanation.share.items()}
        text, logprob = plain_word(explanation.words[word]), explanation.logprobs[word]
        method = explanation.methods[word] if explanation.methods else explanation.method
        found.append(WordMask(word, text, view, mask.numpy(), source, logprob, share, method))
    return found


def _region(heat: torch.Tensor, regions: torch.Tensor | None) -> tuple[int, torch.Tensor, str]:
    """(view, values that are positive inside ``[s, s]``, where they come from) of one word."""
    if regions is not None and bool((regions > 0).any()):
        view = int((regions > 0).flatten(1).sum(1).argmax())
        return view, regions[view].float(), "mask decoder"
    view = int(heat.flatten(1).amax(1).argmax())
    _, cells = peak_box(heat[view], heat.shape[-1])
    return view, cells.float() - 0.5, "map"
