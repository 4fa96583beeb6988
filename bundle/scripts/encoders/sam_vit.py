"""The Segment Anything image encoder (ViTDet style), lean in memory: 3 x S x S -> 256 x S/16 x S/16.

SAM: Kirillov et al., ICCV 2023 (arXiv 2304.02643); ViTDet: Li et al., ECCV 2022 (arXiv 2203.16527). Most blocks attend
within windows of 14 x 14 tokens, four over the whole map. Parameters carry the names of Meta's checkpoints, so
``sam_vit_*.pth`` loads without renaming.

What is saved against the published code, all exact: attention scores never exist as a whole
(:mod:`.relative_attention`), padding is added after the projection to queries, keys and values (a padded token's
projection is the bias) and removed before the output projection, the MLP runs on a slice of the tokens at a time.

Shape legend: B images, S input size, H x W = S/16 x S/16 the map, C width, E heads, D = C / E, s a window's side.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scripts.kernels.convolution import ChannelNorm
from scripts.kernels.relative_attention import attend

PATCH = 16
WINDOW = 14
NECK_CHANNELS = 256
NORM_EPS = 1e-6
MLP_TOKENS = 1024


class SamSize(NamedTuple):
    """Width, number of blocks, heads, and which blocks attend over the whole map."""

    width: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]


SAM_SIZES = {
    "base": SamSize(768, 12, 12, (2, 5, 8, 11)),
    "large": SamSize(1024, 24, 16, (5, 11, 17, 23)),
    "huge": SamSize(1280, 32, 16, (7, 15, 23, 31)),
}


class SamViT(nn.Module):
    """Pixels ``[B, 3, S, S]`` -> feature map ``[B, 256, S/16, S/16]``.

    Args:
        size: width, depth, heads and global blocks.
        input_size: S.
    """

    def __init__(self, size: SamSize, *, input_size: int = 1024) -> None:
        super().__init__()
        side = input_size // PATCH
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, size.width, PATCH, PATCH)})
        self.pos_embed = nn.Parameter(torch.zeros(1, side, side, size.width))
        self.blocks = nn.ModuleList(
            SamBlock(size.width, size.heads, side=side, window=0 if index in size.global_blocks else WINDOW)
            for index in range(size.depth)
        )
        self.neck = nn.Sequential(
            nn.Conv2d(size.width, NECK_CHANNELS, 1, bias=False),
            ChannelNorm(NECK_CHANNELS),
            nn.Conv2d(NECK_CHANNELS, NECK_CHANNELS, 3, padding=1, bias=False),
            ChannelNorm(NECK_CHANNELS),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.patch_embed["proj"](pixels).permute(0, 2, 3, 1) + self.pos_embed
        x = x.contiguous()
        for block in self.blocks:
            x = block(x)
        return self.neck(x.permute(0, 3, 1, 2))


class SamBlock(nn.Module):
    """Attention within windows (or over the map for ``window=0``) and an MLP, each with residual: ``[B, H, W, C]``."""

    def __init__(self, width: int, heads: int, *, side: int, window: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.attn = SamAttention(width, heads, side=window or side)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = nn.ModuleDict({"lin1": nn.Linear(width, 4 * width), "lin2": nn.Linear(4 * width, width)})

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        if torch.is_grad_enabled() and (x.requires_grad or self.norm2.weight.requires_grad):
            return x + self._expand(x)
        for tokens in _slices(x):
            tokens += self._expand(tokens)  # x is this block's own sum, nobody else reads it
        return x

    def _expand(self, x: Tensor) -> Tensor:
        return self.mlp["lin2"](F.gelu(self.mlp["lin1"](self.norm2(x))))


def _slices(x: Tensor) -> Iterator[Tensor]:
    flat = x.view(-1, x.shape[-1])
    return (flat[first : first + MLP_TOKENS] for first in range(0, flat.shape[0], MLP_TOKENS))


class SamAttention(nn.Module):
    """Multi-head attention with relative positions within squares of ``side`` tokens: ``[B, H, W, C]`` in and out."""

    def __init__(self, width: int, heads: int, *, side: int) -> None:
        super().__init__()
        self.heads = heads
        self.side = side
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, width // heads))

    def forward(self, x: Tensor) -> Tensor:
        batch, height, breadth, width = x.shape
        side = self.side
        down, across = -(-height // side), -(-breadth // side)
        qkv = self._fill(self.qkv(x), down * side, across * side)
        qkv = qkv.view(batch, down, side, across, side, 3, self.heads, width // self.heads)
        # 3, B, windows down and across, heads, then a window's rows and columns
        query, key, value = (
            qkv.permute(5, 0, 1, 3, 6, 2, 4, 7).reshape(3, -1, side * side, width // self.heads).unbind(0)
        )
        mixed = attend(query, key, value, self.rel_pos_h, self.rel_pos_w)
        mixed = mixed.view(batch, down, across, self.heads, side, side, -1).permute(0, 1, 4, 2, 5, 3, 6)
        mixed = mixed.reshape(batch, down * side, across * side, width)[:, :height, :breadth]
        return self.proj(mixed.contiguous())  # of a cropped view PyTorch makes a batch of products, and as many weights

    def _fill(self, qkv: Tensor, height: int, breadth: int) -> Tensor:
        """Queries, keys and values ``[B, height, breadth, 3C]`` whose added tokens are those of zeros: the bias."""
        batch, filled_height, filled_breadth, _ = qkv.shape
        if (filled_height, filled_breadth) == (height, breadth):
            return qkv
        filled = qkv.new_empty(batch, height, breadth, qkv.shape[3])
        filled[:, :filled_height, :filled_breadth] = qkv
        filled[:, :filled_height, filled_breadth:] = self.qkv.bias
        filled[:, filled_height:] = self.qkv.bias
        return filled
