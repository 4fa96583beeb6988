"""Branch: a frozen encoder, what prepares its tokens, and the Q-Former that reads them.

A network has one branch (``general`` alone is BLIP-2, ``detail`` alone SAM-BLIP2) or two (MSMedCap).

Shape legend: B images, V views of one case, N tokens of one view, C encoder width, Q queries, H Q-Former width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .qformer import Memory, QFormer

__all__ = ["Branch", "tokens_of_views"]


def tokens_of_views(encoder: nn.Module, image: Tensor, image_mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Encode single images or cases of several views.

    Args:
        encoder: ``[M, 3, H, W] -> [M, N, C]``.
        image: ``[B, 3, H, W]`` in [0, 1], or ``[B, V, 3, H, W]``.
        image_mask: ``[B, V]`` bool, True at real views; None when all are.

    Returns:
        tokens ``[B, V * N, C]`` (views one after the other) and their mask ``[B, V * N]`` or None.
    """
    if image.ndim == 4:
        return encoder(image), None
    if image.ndim != 5:
        raise ValueError(f"an image batch is [B, 3, H, W] or [B, V, 3, H, W], not {tuple(image.shape)}")
    batch, views = image.shape[:2]
    tokens = encoder(image.flatten(0, 1))
    count = tokens.shape[1]
    tokens = tokens.reshape(batch, views * count, -1)
    if image_mask is None or bool(image_mask.all()):
        return tokens, None
    return tokens, image_mask.bool().repeat_interleave(count, dim=1)


class Branch(nn.Module):
    """Image or cached tokens in, Q-Former query states out.

    Args:
        encoder: a frozen encoder with ``width`` (C) and ``token_count`` (N).
        qformer: the Q-Former, built for the encoder's width.
        normalize_tokens: a trained LayerNorm on the tokens (BLIP-2's ``ln_vision``; the official SAM branch has none).
        token_positions: trained position embeddings ``[N, C]`` added to the tokens, starting at zero. For encoders
            whose tokens do not tell where they are (a convolutional network); no part of the paper.
    """

    def __init__(
        self,
        *,
        encoder: nn.Module,
        qformer: QFormer,
        normalize_tokens: bool = True,
        token_positions: bool = False,
    ) -> None:
        super().__init__()
        if qformer.encoder_width != encoder.width:
            raise ValueError(
                f"the Q-Former was built for tokens {qformer.encoder_width} wide, the encoder gives {encoder.width}"
            )
        self.encoder = encoder
        self.token_norm = nn.LayerNorm(encoder.width, eps=1e-5) if normalize_tokens else nn.Identity()
        self.token_positions = (
            nn.Parameter(torch.zeros(encoder.token_count, encoder.width)) if token_positions else None
        )
        self.qformer = qformer

    def encode(self, image: Tensor, image_mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Frozen encoder tokens ``[B, V * N, C]`` and mask: exactly what a feature cache stores."""
        return tokens_of_views(self.encoder, image, image_mask)

    def remember(self, tokens: Tensor, token_mask: Tensor | None = None) -> Memory:
        """Normalise tokens ``[B, V * N, C]``, add positions, project keys and values once."""
        tokens = self.token_norm(tokens.to(self.qformer.query_tokens.dtype))
        if self.token_positions is not None:
            views = tokens.shape[1] // self.token_positions.shape[0]
            tokens = tokens + self.token_positions.repeat(views, 1)
        return self.qformer.remember(tokens, token_mask)

    def tokens(
        self,
        image: Tensor | None = None,
        image_mask: Tensor | None = None,
        cached: Tensor | None = None,
        cached_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Encoder tokens ``[B, V * N, C]`` and mask: the cached ones where given (then the encoder does not run)."""
        if cached is not None:
            return cached, cached_mask
        if image is None:
            raise ValueError("a branch needs either images or cached tokens")
        return self.encode(image, image_mask)

    def forward(self, tokens: Tensor, token_mask: Tensor | None = None) -> Tensor:
        """Query states ``[B, Q, H]`` of encoder tokens ``[B, V * N, C]``."""
        return self.qformer(self.remember(tokens, token_mask))
