"""Vectors of the last pairs, which stay as further wrong partners for ITC.

A small batch has few wrong partners, and most are wrong at a glance. Vectors of pairs that were seen a few steps ago
have hardly moved, so they serve as partners that cost no pass (cross-batch memory: Wang et al., CVPR 2020, arXiv
1912.06798).

Shape legend: B pairs here, G = B times the number of processes, M remembered pairs, Q queries, T text tokens, E
embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scripts.distributed import gather

_FACTOR = 6364136223846793005  # of Knuth's linear congruential generator, modulo 2**64


@dataclass
class Remembered:
    """Pairs of earlier batches.

    Attributes:
        images: ``[M, Q, E]``; texts: ``[M, E]``; neither has a gradient.
        positives: ``[B, M]`` bool, which of these captions are right for this batch's images.
    """

    images: Tensor
    texts: Tensor
    positives: Tensor


class PairMemory(nn.Module):
    """The last ``size`` pairs that a branch learned from; part of a checkpoint, not of a model.

    Args:
        size: M at most.
        queries: Q vectors an image.
        embedding: E.
        duplicates_are_positives: a remembered caption that is equal token for token counts as right.
    """

    def __init__(self, *, size: int, queries: int, embedding: int, duplicates_are_positives: bool) -> None:
        super().__init__()
        self.size = size
        self.duplicates_are_positives = duplicates_are_positives
        self.register_buffer("images", torch.zeros(size, queries, embedding, dtype=torch.float16))
        self.register_buffer("texts", torch.zeros(size, embedding, dtype=torch.float16))
        self.register_buffer("captions", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))  # pairs in all

    def partners(self, input_ids: Tensor, attention_mask: Tensor) -> Remembered | None:
        """What is remembered, for the captions ``[B, T]`` of a batch; None at the start."""
        known = min(int(self.seen), self.size)
        if not known:
            return None
        positives = fingerprints(input_ids, attention_mask)[:, None] == self.captions[None, :known]
        if not self.duplicates_are_positives:
            positives = torch.zeros_like(positives)
        return Remembered(self.images[:known].float(), self.texts[:known].float(), positives)

    @torch.no_grad()
    def keep(self, images: Tensor, texts: Tensor, input_ids: Tensor, attention_mask: Tensor) -> None:
        """Remember the pairs of all processes in place of the oldest.

        Args:
            images: ``[B, Q, E]``; texts: ``[B, E]``.
            input_ids, attention_mask: ``[B, T]``.
        """
        new = [gather(value.detach())[-self.size :] for value in (images, texts)]
        captions = gather(fingerprints(input_ids, attention_mask))
        places = (int(self.seen) + torch.arange(len(captions), device=captions.device))[-self.size :] % self.size
        for kept, value in zip((self.images, self.texts, self.captions), (*new, captions[-self.size :]), strict=True):
            kept[places] = value.to(kept.dtype)
        self.seen += len(captions)


def fingerprints(input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """A number for each caption ``[B, T]``, the same for the same tokens however they are padded: int64 ``[B]``."""
    found = torch.zeros_like(input_ids[:, 0])
    for token, real in zip(input_ids.T, attention_mask.bool().T, strict=True):
        found = torch.where(real, found * _FACTOR + token + 1, found)
    return found
