"""Random choice of tokens that can be made independent of the batch."""

from __future__ import annotations

import torch
from torch import Tensor


class Draws:
    """Draws without replacement from the rows of probability tables.

    Args:
        seed: with one, every image has its own random stream, all begun alike, so what is drawn for an image does not
            depend on the batch it is in; `None` uses the global random state.
        images: number of images in the batch.
    """

    def __init__(self, seed: int | None, images: int, device: torch.device) -> None:
        self.streams: list[torch.Generator] | None = None
        if seed is not None:
            self.streams = [torch.Generator(device).manual_seed(seed) for _ in range(images)]

    @property
    def independent(self) -> bool:
        """Whether taking an image out of the batch leaves what is drawn for the others as it is."""
        return self.streams is not None

    def __call__(self, probabilities: Tensor, count: int) -> Tensor:
        """`[B * n, V]`, n rows an image -> `[B * n, count]` indices into V."""
        if self.streams is None:
            return torch.multinomial(probabilities, count)
        images = probabilities.unflatten(0, (len(self.streams), -1))
        drawn = [torch.multinomial(p, count, generator=g) for p, g in zip(images, self.streams, strict=True)]
        return torch.cat(drawn)

    def keep_rows(self, rows: Tensor) -> None:
        """Forget all images but `rows [N]`."""
        if self.streams is not None:
            self.streams = [self.streams[row] for row in rows.tolist()]
