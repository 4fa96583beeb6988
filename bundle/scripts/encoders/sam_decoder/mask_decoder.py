"""SAM's mask decoder: feature map and prompt embeddings -> masks and their expected quality.

Kirillov et al., Segment Anything, ICCV 2023 (arXiv 2304.02643), appendix A: two blocks in which tokens and image attend
each other, then the image is enlarged four times and each mask token becomes the weights of a linear read-out.

Shape legend: B prompts, T tokens, N = g * g positions, C width, h heads, M masks (one for unambiguous prompts, then
three at growing scales).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scripts.kernels.convolution import ChannelNorm


class NarrowAttention(nn.Module):
    """Multi-head attention that may work at a fraction of its outer width: ``[B, S, C], [B, N, C] -> [B, S, C]``."""

    def __init__(self, width: int, heads: int, *, reduction: int = 1) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width // reduction)
        self.key = nn.Linear(width, width // reduction)
        self.value = nn.Linear(width, width // reduction)
        self.output = nn.Linear(width // reduction, width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        parts = (self.query(query), self.key(key), self.value(value))
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        return self.output(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class TwoWayBlock(nn.Module):
    """Tokens attend themselves, then the image; a feed-forward; then the image attends the tokens.

    Places are added to queries and keys at every step, values carry none. The first block's self-attention goes without
    them and without a residual, since there the tokens are nothing but places.
    """

    def __init__(self, *, width: int, heads: int, hidden: int, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attention = NarrowAttention(width, heads)
        self.to_image = NarrowAttention(width, heads, reduction=2)
        self.feed_forward = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))
        self.to_tokens = NarrowAttention(width, heads, reduction=2)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))

    def forward(
        self, tokens: Tensor, image: Tensor, token_places: Tensor, image_places: Tensor
    ) -> tuple[Tensor, Tensor]:
        """``tokens [B, T, C]`` and ``image [B, N, C]``, both updated."""
        if self.first:
            tokens = self.self_attention(tokens, tokens, tokens)
        else:
            placed = tokens + token_places
            tokens = tokens + self.self_attention(placed, placed, tokens)
        tokens = self.norms[0](tokens)
        tokens = self.norms[1](tokens + self.to_image(tokens + token_places, image + image_places, image))
        tokens = self.norms[2](tokens + self.feed_forward(tokens))
        image = self.norms[3](image + self.to_tokens(image + image_places, tokens + token_places, tokens))
        return tokens, image


def read_out(width: int, hidden: int, outputs: int) -> nn.Sequential:
    """Three linear layers with ReLU between."""
    return nn.Sequential(
        nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, outputs)
    )


class MaskDecoder(nn.Module):
    """Masks at four times the feature map's resolution.

    Args:
        width: C; heads, hidden, blocks: of the two-way transformer; masks: M.
    """

    def __init__(
        self, *, width: int = 256, heads: int = 8, hidden: int = 2048, blocks: int = 2, masks: int = 4
    ) -> None:
        super().__init__()
        self.quality_token = nn.Parameter(torch.zeros(1, width))
        self.mask_tokens = nn.Parameter(torch.zeros(masks, width))
        self.blocks = nn.ModuleList(
            TwoWayBlock(width=width, heads=heads, hidden=hidden, first=index == 0) for index in range(blocks)
        )
        self.last_attention = NarrowAttention(width, heads, reduction=2)
        self.last_norm = nn.LayerNorm(width)
        self.enlarge = nn.Sequential(
            nn.ConvTranspose2d(width, width // 4, 2, stride=2),
            ChannelNorm(width // 4),
            nn.GELU(),
            nn.ConvTranspose2d(width // 4, width // 8, 2, stride=2),
            nn.GELU(),
        )
        self.mask_heads = nn.ModuleList(read_out(width, width, width // 8) for _ in range(masks))
        self.quality_head = read_out(width, width, masks)

    def forward(self, features: Tensor, places: Tensor, sparse: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        """Mask logits ``[B, M, 4g, 4g]`` and expected intersection over union ``[B, M]``.

        Args:
            features: ``[1, C, g, g]`` of one image or ``[B, C, g, g]``; places: ``[1, C, g, g]``.
            sparse: ``[B, K, C]``; dense: ``[B, C, g, g]``, both from the prompt encoder.
        """
        own = torch.cat([self.quality_token, self.mask_tokens])
        prompts = torch.cat([own.expand(len(sparse), -1, -1), sparse], dim=1)
        side = features.shape[-1]
        image = (features + dense).flatten(2).transpose(1, 2)
        image_places = places.flatten(2).transpose(1, 2)
        tokens = prompts
        for block in self.blocks:
            tokens, image = block(tokens, image, prompts, image_places)
        tokens = self.last_norm(tokens + self.last_attention(tokens + prompts, image + image_places, image))
        enlarged = self.enlarge(image.transpose(1, 2).unflatten(2, (side, side)))
        weights = torch.stack([head(tokens[:, 1 + index]) for index, head in enumerate(self.mask_heads)], dim=1)
        return torch.einsum("bmc,bchw->bmhw", weights, enlarged), self.quality_head(tokens[:, 0])
