"""A batch of captions for tests of outputs: two tokens a caption and the end, each with a log-probability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from scripts.captioning import CaptionedBatch


def captioned(captions: Sequence[str], words: Sequence[str], **more: Any) -> CaptionedBatch:
    """These captions, all of these words; ``more`` are other attributes."""
    count = len(captions)
    return CaptionedBatch(
        token_ids=torch.zeros(count, 3, dtype=torch.int64),
        token_logprobs=torch.tensor([[-0.5, -1.5, 0.0]] * count),
        lengths=torch.tensor([2] * count),
        captions=list(captions),
        prompts=[""] * count,
        words=[list(words)] * count,
        encoded={},
        **more,
    )
