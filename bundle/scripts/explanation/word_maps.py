"""`explain`: for each word of a caption, where in the image each branch found it.

``attention``: how much the word attends each query of a branch (`prefix_use`) times where that query looked
(`qformer_attention`). ``gradient``: how much each encoder token supports the word (`token_relevance`). ``occlusion``:
what the word loses when a window of the image is hidden (`occlusion_use`). Words that name nothing visible, such as
"with" and "the", have no map.

Shape legend: B images, V views, N tokens of one view, Q queries, P prefix positions, T caption tokens, W words,
h x w the token grid of a branch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from scripts.errors import InputError
from scripts.explanation.occlusion_use import occlusion_use
from scripts.explanation.prefix_use import attention_use, gradients
from scripts.explanation.qformer_attention import read_tokens, rollout
from scripts.explanation.regions import region_finder, sam_branch
from scripts.explanation.token_relevance import token_relevance
from scripts.explanation.words import content_words, words_of
from scripts.networks.caption_network import CaptionNetwork
from scripts.networks.prompts import Prompt

Method = Literal["attention", "gradient", "occlusion"]
METHODS: tuple[Method, ...] = ("attention", "gradient", "occlusion")
DEFAULT: Method = "occlusion"
"""What ``explain=True`` means: the one whose maps measured best (docs/experiments.md)."""
Encoded = Mapping[str, tuple[Tensor, Tensor | None]]


@dataclass(frozen=True)
class Explanation:
    """What a caption's words rest on.

    Attributes:
        words: the caption's words.
        logprobs: natural logarithm of each word's probability given image and words before it, summed over its tokens.
        maps: branch -> ``[W, h, w]`` over the letterboxed square, ``[W, V, h, w]`` for a case of several views;
            non-negative, summing to 1 over all but W; zero for a word that is not :attr:`visible`. A branch whose
            tokens are not positions has none.
        share: branch -> ``[W]``, the part of the word's reliance that falls on this branch; sums to 1 over branches.
        notes: sentences, such as why a branch has no map.
        method: how it was computed.
        region_branch: the branch whose peaks the regions are drawn around, None without a SAM encoder.
        find_regions: gives :attr:`regions`; runs at the first question.
    """

    words: tuple[str, ...]
    logprobs: tuple[float, ...]
    maps: Mapping[str, Tensor]
    share: Mapping[str, Tensor]
    notes: tuple[str, ...] = field(default=())
    method: Method = DEFAULT
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


@torch.no_grad()
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
        method: "attention" (one pass of the language model), "gradient" (and one backward pass a word) or "occlusion"
            (sixteen more passes of the encoders and 48 of the language model, for each view; needs ``image``).
        prompts: what was given to ``generate``; the network's own by default.

    Raises:
        InputError: an unknown method, or occlusion without the image.
    """
    if method not in METHODS:
        raise InputError(f'explain is "attention", "gradient" or "occlusion", not {method!r}')
    if method == "occlusion" and image is None:
        raise InputError('explain="occlusion" hides parts of the image, and only its tokens are kept: use "gradient"')
    batch = len(token_ids)
    device = next(network.parameters()).device
    found = []
    with torch.autocast(device.type, enabled=False):
        for row in range(batch):
            one = {name: _row(pair, row) for name, pair in encoded.items()}
            ids = token_ids[row, : int(lengths[row])].to(device)
            views = None if image is None else image[row].detach().clone()
            finder = partial(_regions, network, views)
            asked = None if prompts is None else [prompts[row]]
            found.append(_explain_one(network, one, views, ids, method, asked, finder))
    return found


def _regions(network: CaptionNetwork, views: Tensor | None, maps: Mapping[str, Tensor]) -> Tensor | None:
    """See :attr:`Explanation.regions`."""
    finder, _ = region_finder(network)
    if finder is None or views is None or not len(maps[finder.branch]):
        return None
    return finder.regions(views if views.ndim == 4 else views[None], maps[finder.branch])


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
    find_regions: Callable[[Mapping[str, Tensor]], Tensor | None],
) -> Explanation:
    words = words_of(network.tokenizer, ids.tolist())
    if method == "occlusion":
        assert views is not None  # `explain` refuses it
        views = views if views.ndim == 4 else views[None]
        logprobs, reliance = occlusion_use(network, encoded, views, ids, words, prompts)
    else:
        prefix, _ = network.prefix(encoded, prompts)
        if method == "attention":
            logprobs, use = attention_use(network.language_model, prefix, ids, words)
            reliance = _looked_at(network, encoded, use)
        else:
            logprobs, gradient = gradients(network.language_model, prefix, ids, words)
            reliance = _supported_by(network, encoded, gradient)
    texts = tuple(word.text for word in words)
    maps, share, notes = _assemble(network, reliance)
    for stack in maps.values():
        stack[[place for place in range(len(texts)) if place not in content_words(texts)]] = 0.0
    return Explanation(
        words=texts,
        logprobs=tuple(logprobs.tolist()),
        maps=maps,
        share=share,
        notes=notes,
        method=method,
        region_branch=sam_branch(network),
        find_regions=partial(find_regions, maps) if maps else None,
    )


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
    """Maps and shares by branch, and notes, from the reliance ``[W, N]`` on each of a branch's tokens."""
    maps, notes = {}, []
    for name, branch in network.branches.items():
        if branch.encoder.grid is None:
            notes.append(f"the {name} branch has no map: its tokens are channels, not positions (sam_layout channel)")
            continue
        maps[name] = to_grid(reliance[name], branch.encoder.grid, branch.encoder.leading_tokens)
    total = torch.stack([tokens.sum(-1) for tokens in reliance.values()]) + 1e-12  # even where a word rests on nothing
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
