"""`explain`: for each word of a caption, where in the image each branch found it.

``attention``: how much the word attends each query of a branch (`prefix_use`) times where that query looked
(`qformer_attention`). ``gradient``: how much each encoder token supports the word (`token_relevance`). ``occlusion``:
what the word loses when a window of the image is hidden (`occlusion_use`). ``reader``: where the concept reader sees
what the word says (`reader_use`); a word that it does not know has the map of ``gradient``. Words that name nothing
visible, such as "with" and "the", have no map.

Shape legend: B images, V views, N tokens of one view, Q queries, P prefix positions, T caption tokens, W words,
h x w the token grid of a branch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from scripts.errors import InputError
from scripts.explanation.occlusion_use import occlusion_use
from scripts.explanation.prefix_use import attention_use, gradients, token_logprobs, word_logprobs
from scripts.explanation.qformer_attention import read_tokens, rollout
from scripts.explanation.reader_use import READER, reader_use
from scripts.explanation.regions import region_finder, sam_branch
from scripts.explanation.token_relevance import token_relevance
from scripts.explanation.words import Word, content_words, words_of
from scripts.networks.caption_network import CaptionNetwork
from scripts.networks.prompts import Prompt

Method = Literal["attention", "gradient", "occlusion", "reader"]
METHODS: tuple[Method, ...] = get_args(Method)
DEFAULT: Method = "occlusion"
"""What ``explain=True`` means: the one whose maps measured best (docs/experiments.md)."""
NETWORK = "network"
"""What maps are called that are of all branches together."""
PEAKS = 32
"""Cells a side in which the peak of all maps together is looked for."""
Encoded = Mapping[str, tuple[Tensor, Tensor | None]]


@dataclass(frozen=True)
class Explanation:
    """What a caption's words rest on.

    Attributes:
        words: the caption's words.
        logprobs: natural logarithm of each word's probability given image and words before it, summed over its tokens.
        maps: branch -> ``[W, h, w]`` over the letterboxed square, ``[W, V, h, w]`` for a case of several views;
            non-negative, summing to 1 over all but W; zero for a word that is not :attr:`visible`. A branch whose
            tokens are not positions has none. "network" is all branches together, "reader" the concept reader.
        share: branch -> ``[W]``, the part of the word's reliance that falls on this branch; sums to 1 over branches.
        notes: sentences, such as why a branch has no map.
        method: how it was asked for.
        methods: how the map of each word was computed; None for one without a map.
        region_branch: the branch whose peaks the regions are drawn around; None where those of all maps together are,
            or without a SAM encoder.
        find_regions: gives :attr:`regions`; runs at the first question.
    """

    words: tuple[str, ...]
    logprobs: tuple[float, ...]
    maps: Mapping[str, Tensor]
    share: Mapping[str, Tensor]
    notes: tuple[str, ...] = field(default=())
    method: Method = DEFAULT
    methods: tuple[Method | None, ...] = ()
    region_branch: str | None = None
    find_regions: Callable[[], Tensor | None] | None = field(default=None, repr=False, compare=False)

    @property
    def visible(self) -> tuple[bool, ...]:
        """Whether each word names something that can be seen; the others ("with", "of") have no map."""
        named = set(content_words(self.words))
        return tuple(place in named for place in range(len(self.words)))

    @cached_property
    def regions(self) -> Tensor | None:
        """Logits ``[W, V, s, s]`` over the letterboxed square, positive inside the region around each word's peak.

        From SAM's mask decoder; None where no branch has one that fits.
        """
        return None if self.find_regions is None else self.find_regions()

    def peaks(self) -> Tensor:
        """Maps ``[W, h, w]`` or ``[W, V, h, w]`` whose peaks the regions are drawn around."""
        return self.combined(PEAKS) if self.region_branch is None else self.maps[self.region_branch]

    def outlined(self, word: int) -> str:
        """The branch whose map of a word its region belongs to."""
        return self.region_branch or max(self.maps, key=lambda name: float(self.share[name][word]))

    def first(self, count: int) -> Explanation | None:
        """The same of the caption's first ``count`` words; None of none."""
        if count == 0:
            return None
        return replace(
            self,
            words=self.words[:count],
            logprobs=self.logprobs[:count],
            maps={name: maps[:count] for name, maps in self.maps.items()},
            share={name: share[:count] for name, share in self.share.items()},
            methods=self.methods[:count],
            find_regions=lambda: None if self.regions is None else self.regions[:count],
        )

    def combined(self, side: int) -> Tensor:
        """The branches' maps weighted by their shares, on one grid: ``[W, V, side, side]``, summing to 1 a word.

        Branches without a map are left out; a word without a map is zero.
        """
        total: Tensor | float = 0.0
        for name, maps in self.maps.items():
            views = maps[:, None] if maps.ndim == 3 else maps
            fine = F.interpolate(views, size=(side, side), mode="bilinear", align_corners=False)
            weight = self.share[name][:, None, None, None].clamp_min(1e-9)
            total = total + weight * fine / fine.sum((1, 2, 3), keepdim=True).clamp_min(1e-9)
        if isinstance(total, float):
            raise InputError("no branch has a map: spatial tokens are needed (sam_layout spatial)")
        return total / total.sum((1, 2, 3), keepdim=True).clamp_min(1e-12)


def methods_of(network: CaptionNetwork) -> tuple[Method, ...]:
    """Methods that this network allows."""
    return tuple(one for one in METHODS if one != "reader" or network.concept_reader is not None)


@torch.no_grad()  # what needs a gradient turns it on itself; maps that kept one would keep its graph, too
def explain(
    network: CaptionNetwork,
    encoded: Encoded,
    image: Tensor | None,
    token_ids: Tensor,
    lengths: Tensor,
    method: Method = DEFAULT,
    *,
    prompts: Sequence[Prompt] | None = None,
) -> list[Explanation]:
    """Explain generated captions.

    Args:
        network: the captioner, in eval mode.
        encoded: from ``network.encode``: encoder tokens ``[B, V * N, C]`` and masks by branch.
        image: ``[B, 3, S, S]`` or ``[B, V, 3, S, S]``, for :attr:`Explanation.regions`; None does without.
        token_ids: ``[B, T]`` as generated; lengths: ``[B]``, tokens of each that count.
        method: "attention" (one pass of the language model), "gradient" (and one backward pass a word), "occlusion"
            (seventeen passes of the encoders and as many of the language model, for each view; needs ``image``) or
            "reader" (one more pass of the concept reader's encoders; needs them and ``image``).
        prompts: what was given to ``generate``; the network's own by default.

    Raises:
        InputError: an unknown method, or one that needs what is not there.
    """
    _refuse(network, image, method)
    batch = len(token_ids)
    device = next(network.parameters()).device
    outer = {"enabled": torch.is_autocast_enabled(device.type), "dtype": torch.get_autocast_dtype(device.type)}
    precision = partial(torch.autocast, device.type, **outer)  # images are encoded as for the caption, no more exactly
    found = []
    with torch.autocast(device.type, enabled=False):
        for row in range(batch):
            one = {name: _row(pair, row) for name, pair in encoded.items()}
            ids = token_ids[row, : int(lengths[row])].to(device)
            views = None if image is None else image[row].detach().clone()
            views = views if views is None or views.ndim == 4 else views[None]
            asked = None if prompts is None else [prompts[row]]
            found.append(_explain_one(network, one, views, ids, method, asked, precision))
    return found


def _refuse(network: CaptionNetwork, image: Tensor | None, method: str) -> None:
    if method not in METHODS:
        raise InputError(f"explain is {', '.join(METHODS[:-1])} or {METHODS[-1]}, not {method!r}")
    if method in ("occlusion", "reader") and image is None:
        raise InputError(f'explain="{method}" looks at the image, and only its tokens are kept: use "gradient"')
    if method == "reader" and network.concept_reader is None:
        raise InputError('explain="reader" asks the concept reader, and this network has none: use "gradient"')


def _regions(network: CaptionNetwork, views: Tensor, heat: Callable[[], Tensor]) -> Tensor | None:
    """See :attr:`Explanation.regions`."""
    finder, _ = region_finder(network)
    if finder is None or not len(peaks := heat()):
        return None
    return finder.regions(views, peaks)


def _row(pair: tuple[Tensor, Tensor | None], row: int) -> tuple[Tensor, Tensor | None]:
    tokens, mask = pair
    return tokens[row : row + 1].detach().clone(), None if mask is None else mask[row : row + 1]


def _explain_one(
    network: CaptionNetwork,
    encoded: Encoded,
    views: Tensor | None,
    ids: Tensor,
    method: Method,
    prompts: Sequence[Prompt] | None,
    precision: Callable[[], AbstractContextManager],
) -> Explanation:
    words = words_of(network.tokenizer, ids.tolist())
    texts = tuple(word.text for word in words)
    made: list[Method] = [method] * len(words)
    if method == "occlusion":
        logprobs, use = occlusion_use(network, encoded, views, ids, words, prompts, precision)
        reliance = {NETWORK: use}
    else:
        prefix, _ = network.prefix(encoded, prompts)
        if method == "attention":
            logprobs, use = attention_use(network.language_model, prefix, ids, words)
            reliance = _looked_at(network, encoded, use)
        elif method == "gradient":
            logprobs, gradient = gradients(network.language_model, prefix, ids, words)
            reliance = _supported_by(network, encoded, gradient)
        else:
            logprobs, reliance, made = _read(network, encoded, views, prefix, ids, words)
    maps, share, notes = _assemble(network, reliance)
    visible = set(content_words(texts))
    for stack in maps.values():
        stack[[place for place in range(len(texts)) if place not in visible]] = 0.0
    explanation = Explanation(
        words=texts,
        logprobs=tuple(logprobs.tolist()),
        maps=maps,
        share=share,
        notes=notes,
        method=method,
        methods=tuple(one if place in visible else None for place, one in enumerate(made)),
        region_branch=sam_branch(network) if method in ("attention", "gradient") else None,
    )
    if views is None or not maps:
        return explanation
    return replace(explanation, find_regions=partial(_regions, network, views, explanation.peaks))


def _read(
    network: CaptionNetwork, encoded: Encoded, views: Tensor, prefix: Tensor, ids: Tensor, words: Sequence[Word]
) -> tuple[Tensor, dict[str, Tensor], list[Method]]:
    """Log-probabilities, reliance on the reader and, for words that it does not know, on the branches; by method."""
    texts = [word.text for word in words]
    logprobs = word_logprobs(token_logprobs(network.language_model, prefix, ids), words)[0]
    read, known = reader_use(network.concept_reader, encoded[READER], views.to(prefix.device), texts)
    reliance = {READER: read}
    rest = [place for place in content_words(texts) if not known[place]]
    if rest:
        _, gradient = gradients(network.language_model, prefix, ids, [words[place] for place in rest])
        for name, own in _supported_by(network, encoded, gradient).items():
            reliance[name] = own.new_zeros(len(words), own.shape[1]).index_copy(0, torch.tensor(rest), own)
    return logprobs, reliance, ["reader" if one else "gradient" for one in known]


def _parts(network: CaptionNetwork, prefix: Tensor) -> dict[str, Tensor]:
    """The columns of ``prefix`` ``[W, P, ...]`` that are each branch's queries."""
    found, start = {}, 0
    for name, branch in network.branches.items():
        found[name] = prefix[:, start : start + branch.qformer.query_count]
        start += branch.qformer.query_count
    return found


def _looked_at(network: CaptionNetwork, encoded: Encoded, use: Tensor) -> dict[str, Tensor]:
    """By branch ``[W, N]``: use of each query times where it looked."""
    readings = {name: read_tokens(branch, *encoded[name]) for name, branch in network.branches.items()}
    return {name: own @ rollout(readings[name])[0] for name, own in _parts(network, use).items()}


def _supported_by(network: CaptionNetwork, encoded: Encoded, gradient: Tensor) -> dict[str, Tensor]:
    """By branch ``[W, N]``: support of each token for each word, where it is positive."""
    return {
        name: token_relevance(network.branches[name], network.projections[name], *encoded[name], own).clamp_min(0)
        for name, own in _parts(network, gradient).items()
    }


def _assemble(
    network: CaptionNetwork, reliance: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor], tuple[str, ...]]:
    """Maps and shares by name, and notes, from the reliance on a branch's tokens ``[W, V * N]`` or on places.

    Places are ``[W, V, h, w]``: of the network as a whole, or of the reader.
    """
    maps, notes = {}, []
    for name, own in reliance.items():
        grid = own.shape[2:] if own.ndim == 4 else network.branches[name].encoder.grid
        if grid is None:
            notes.append(f"the {name} branch has no map: its tokens are channels, not positions (sam_layout channel)")
            continue
        leading = 0 if own.ndim == 4 else network.branches[name].encoder.leading_tokens
        maps[name] = to_grid(own.flatten(1), grid, leading)
    total = torch.stack([own.flatten(1).sum(-1) for own in reliance.values()]) + 1e-12  # also where a word has nothing
    shares = (total / total.sum(0)).float().cpu()
    return maps, dict(zip(reliance, shares, strict=True)), tuple(notes)


def to_grid(flat: Tensor, grid: tuple[int, int], leading: int) -> Tensor:
    """Shares of the tokens ``[W, V * N]`` as maps ``[W, h, w]`` (V = 1) or ``[W, V, h, w]``, each summing to 1.

    ``leading`` tokens of each view (a class token) have no place and are left out. A word that rests on nothing has an
    even map.
    """
    height, width = grid
    views = flat.shape[1] // (leading + height * width)
    maps = flat.float().unflatten(1, (views, -1))[:, :, leading:].clamp_min(0)
    maps = maps + 1e-12  # an even map where nothing is left
    maps = maps / maps.sum((1, 2), keepdim=True)
    maps = maps.reshape(len(flat), views, height, width).cpu()
    return maps[:, 0] if views == 1 else maps
