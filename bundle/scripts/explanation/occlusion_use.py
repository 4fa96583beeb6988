"""Reliance by occlusion: what a word's log-probability loses when a window of the image shows its surroundings.

Sixteen overlapping windows lie over what is in the picture, 4 x 4 of .3 of its height and width, and each in turn is
filled with the mean colour around it. A part that is as plain as its surroundings changes nothing. Encoders and
language model are asked again, so nothing about the network has to be believed. (Occlusion sensitivity: Zeiler and
Fergus, ECCV 2014.)

Shape legend: V views, S side of the square, N tokens of one view, W words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor

from scripts.explanation.occlusion import Box
from scripts.explanation.prefix_use import token_logprobs, word_logprobs
from scripts.explanation.words import Word
from scripts.networks.branch import encoder_tokens
from scripts.networks.caption_network import CaptionNetwork
from scripts.networks.prompts import Prompt

WINDOWS, SHARE = 4, 0.3
"""Windows a row and a column; their side as a share of the picture's."""
FRAME = 0.25
"""Breadth of the frame around a window whose mean colour fills it, as a share of the window's side."""
PLAIN = 0.03
"""Difference from the corner's colour up to which a pixel is plain background."""
CELLS = 16
"""Cells a side of the maps."""
TOGETHER = 8
"""Copies that encoders and language model take at once."""
Encoded = Mapping[str, tuple[Tensor, Tensor | None]]


def content_of(view: Tensor) -> Box:
    """The smallest box outside which ``[3, S, S]`` has the colour of its corner; all of it where nothing differs."""
    differs = ((view - view[:, :1, :1]).abs() > PLAIN).any(0)
    rows, columns = differs.any(1).nonzero()[:, 0], differs.any(0).nonzero()[:, 0]
    if not len(rows):
        return 0, 0, view.shape[-2], view.shape[-1]
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def windows_of(content: Box) -> list[Box]:
    """Overlapping windows around the centres of ``WINDOWS`` x ``WINDOWS`` cells, cut off at the content's edge."""
    top, left, bottom, right = content

    def spans(start: int, end: int) -> list[tuple[int, int]]:
        length = end - start
        centres = [start + (place + 0.5) / WINDOWS * length for place in range(WINDOWS)]
        half = max(SHARE * length / 2, 0.5)
        return [(max(start, round(c - half)), min(end, max(round(c + half), round(c - half) + 1))) for c in centres]

    return [(t, le, b, r) for t, b in spans(top, bottom) for le, r in spans(left, right)]


def surrounded(view: Tensor, boxes: Sequence[Box]) -> Tensor:
    """Copies ``[len(boxes), 3, S, S]``, in each of which one box has the mean colour of the frame around it."""
    copies = view[None].repeat(len(boxes), 1, 1, 1)
    for copy, (top, left, bottom, right) in zip(copies, boxes, strict=True):
        high, wide = max(1, round(FRAME * (bottom - top))), max(1, round(FRAME * (right - left)))
        outer = view[:, max(0, top - high) : bottom + high, max(0, left - wide) : right + wide]
        inner = view[:, top:bottom, left:right]
        count = outer[0].numel() - inner[0].numel()
        if count:
            colour = (outer.sum((1, 2)) - inner.sum((1, 2))) / count
            copy[:, top:bottom, left:right] = colour[:, None, None]
    return copies


def occlusion_use(
    network: CaptionNetwork, encoded: Encoded, views: Tensor, ids: Tensor, words: Sequence[Word],
    prompts: Sequence[Prompt] | None = None, precision: Callable[[], AbstractContextManager] = nullcontext,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Log-probabilities of the words ``[W]``, and how much they rest on each place, ``[W, V, CELLS, CELLS]``.

    A place has the mean fall, in nats, of the windows that cover it; a rise counts as zero. All branches see the same
    image, as they do of any other.

    Args:
        encoded: tokens ``[1, V * N, C]`` and masks by branch; views: ``[V, 3, S, S]``, what they were made of.
        ids: ``[T]``, the caption; prompts: the one that stands before it; the network's own by default.
        precision: the autocast in which images are encoded.
    """
    prefix, _ = network.prefix(encoded, prompts)
    logprobs = word_logprobs(token_logprobs(network.language_model, prefix, ids), words)[0]
    found = []
    for place, view in enumerate(views.to(prefix.device)):
        boxes = windows_of(content_of(view))
        copies = torch.cat([view[None], surrounded(view, boxes)])
        after = []
        for part in copies.split(TOGETHER):
            with precision():
                new = {name: encoder_tokens(branch.encoder, part)[0] for name, branch in network.branches.items()}
            mixed = {name: _in_place(encoded[name], new[name], (place, len(views)), len(part)) for name in new}
            hidden, _ = network.prefix(mixed, None if prompts is None else list(prompts) * len(part))
            after.append(word_logprobs(token_logprobs(network.language_model, hidden, ids), words))
        values = torch.cat(after)
        found.append(_on_places(values[:1] - values[1:], boxes, view.shape[-1]))
    return logprobs, torch.stack(found, dim=1)


def _in_place(
    kept: tuple[Tensor, Tensor | None], new: Tensor, place: tuple[int, int], count: int
) -> tuple[Tensor, Tensor | None]:
    """``count`` copies of a case's tokens; ``new`` ``[count, N, C]`` stand at view ``place[0]`` of ``place[1]``."""
    tokens, mask = kept[0].expand(count, -1, -1), kept[1]
    before, each = place[0] * new.shape[1], new.shape[1]
    tokens = torch.cat([tokens[:, :before], new.to(tokens.dtype), tokens[:, before + each :]], dim=1)
    return tokens, None if mask is None else mask.expand(count, -1)


def _on_places(falls: Tensor, boxes: Sequence[Box], side: int) -> Tensor:
    """Falls ``[windows, W]`` as reliance on the places of a view, ``[W, CELLS, CELLS]``."""
    covered = torch.zeros(len(boxes), side, side, device=falls.device)
    for one, (top, left, bottom, right) in zip(covered, boxes, strict=True):
        one[top:bottom, left:right] = 1.0
    covered = covered / covered.sum(0).clamp_min(1.0)
    cells = F.adaptive_avg_pool2d(covered[None], CELLS)[0].flatten(1)
    return (falls.float().T @ cells).clamp_min(0).unflatten(1, (CELLS, CELLS))
