"""Class activation maps of the concept reader: where in an image it sees a plane, a modality, an organ or a phrase.

The reader's classifiers are linear on the mean of an encoder's tokens. So the same classifier applied to each token
tells what its place adds, and the mean over all places is the class's logit without its bias (class activation maps:
Zhou et al., CVPR 2016, arXiv 1512.04150). The answers to a field exclude one another: an answer's map is what speaks
for it less what speaks for the others, each by its probability among them, which is the gradient of its log-odds.

Shape legend: V views, S side of the square, A classes asked for, C width of all encoders together, N tokens of a view,
h x w the finest grid of the encoders.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scripts.concepts.reader import ConceptReader
from scripts.concepts.said import PHRASE, Said
from scripts.concepts.vocabulary import CLOSED_FIELDS


def class_weights(reader: ConceptReader, pooled: Tensor, asked: Sequence[Said]) -> Tensor:
    """Gradient of each class's log-odds by the mean token, ``[A, C]``.

    Args:
        reader: whose classifiers; pooled: ``[C]``, the mean token of the case.
        asked: the classes.
    """
    weight, bias = reader.weight.float(), reader.bias.float()
    starts = dict(zip((PHRASE, *CLOSED_FIELDS), torch.tensor([0, *reader.sizes]).cumsum(0).tolist(), strict=False))
    sizes = dict(zip((PHRASE, *CLOSED_FIELDS), reader.sizes, strict=True))
    found = []
    for said in asked:
        rows = slice(starts[said.field], starts[said.field] + sizes[said.field])
        own = weight[rows][said.number]
        if said.field != PHRASE and sizes[said.field] > 1:
            logits = weight[rows] @ pooled + bias[rows]
            logits[said.number] = float("-inf")
            own = own - logits.softmax(0) @ weight[rows]
        found.append(own)
    return torch.stack(found) if found else weight.new_zeros(0, weight.shape[1])


@torch.no_grad()
def class_maps(reader: ConceptReader, views: Tensor, pooled: Tensor, asked: Sequence[Said]) -> Tensor:
    """What each place of a case adds to the log-odds of each class, ``[A, V, h, w]``; negative where it speaks against.

    Its mean over views and places is ``class_weights @ pooled``: grids are brought together by the areas in which their
    cells overlap, which keeps sums.

    Args:
        reader: with encoders whose tokens are positions.
        views: ``[V, 3, S, S]`` in [0, 1], the letterboxed squares.
        pooled: ``[C]``, the mean token of the case.
        asked: the classes.
    """
    weights = class_weights(reader, pooled, asked)
    members = list(reader.encoder.members)
    height, width = finest_grid(reader)
    total = weights.new_zeros(len(asked), len(views), height, width)
    for member, own in zip(members, weights.split([member.width for member in members], dim=1), strict=True):
        tokens = member(views).float()[:, member.leading_tokens :]
        maps = torch.einsum("vnc,ac->avn", tokens, own).unflatten(2, member.grid)
        rows, columns = (_overlaps(member.grid[axis], size).to(maps) for axis, size in enumerate((height, width)))
        total += rows @ maps @ columns.T
    return total


def finest_grid(reader: ConceptReader) -> tuple[int, int]:
    """Rows and columns of the maps: those of the encoder that has most."""
    height, width = (max(member.grid[axis] for member in reader.encoder.members) for axis in (0, 1))
    return height, width


def _overlaps(cells: int, wanted: int) -> Tensor:
    """``[wanted, cells]``: the share of each wanted cell that lies in each cell, both dividing one length evenly."""
    start, own = torch.arange(wanted)[:, None] / wanted, torch.arange(cells)[None] / cells
    shared = torch.minimum(start + 1 / wanted, own + 1 / cells) - torch.maximum(start, own)
    return shared.clamp_min(0) * wanted
