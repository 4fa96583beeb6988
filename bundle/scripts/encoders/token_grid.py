"""Feature maps as tokens: positions as tokens, optionally pooled, or channels as tokens.

Shape legend: B images, C channels, h x w the feature map, p pooling, N tokens.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from scripts.errors import InputError

Layout = Literal["spatial", "channel"]


class TokenGrid:
    """How a feature map ``[B, C, h, w]`` becomes tokens.

    Args:
        channels: C.
        side: h and w.
        layout: ``"spatial"`` gives a token a position, ``[B, h*w / p^2, C]``. ``"channel"`` gives a token a channel,
            ``[B, C, h*w]``, as the official MSMedCap code does; it serves parity with its weights.
        pool: p, side of the average pooling before flattening (spatial only).

    Raises:
        InputError: an unknown layout, a pool that does not divide the map, or pooling in the channel layout.
    """

    def __init__(self, *, channels: int, side: int, layout: Layout = "spatial", pool: int = 1) -> None:
        if layout not in ("spatial", "channel"):
            raise InputError(f'layout is "spatial" or "channel", not {layout!r}')
        if layout == "channel" and pool != 1:
            raise InputError(f"pool={pool} has no meaning in the channel layout: set pool to 1")
        if pool < 1 or side % pool:
            raise InputError(f"pool={pool} does not divide the {side} x {side} feature map of this encoder")
        self.layout = layout
        self.pool = pool
        pooled = side // pool
        self.grid = (pooled, pooled) if layout == "spatial" else None
        self.width = channels if layout == "spatial" else side * side
        self.token_count = pooled * pooled if layout == "spatial" else channels

    def __call__(self, features: Tensor) -> Tensor:
        """Tokens ``[B, N, width]`` of features ``[B, C, h, w]``."""
        if self.layout == "channel":
            return features.flatten(2)
        if self.pool > 1:
            features = F.avg_pool2d(features, self.pool)
        return features.flatten(2).transpose(1, 2).contiguous()

    @property
    def settings(self) -> dict[str, str | int]:
        return {"layout": self.layout, "pool": self.pool}
