"""TinyViT image encoder of LiteMedSAM: 3 x 256 x 256 -> 256 x 64 x 64, trained on medical images.

TinyViT: Wu et al., ECCV 2022 (arXiv 2207.10666); LiteMedSAM: Ma et al., CVPR 2024 challenge "Segment Anything in
Medical Images on Laptop", which keeps full resolution in the stem and does not shrink the map after stage 3.
LiteMedSAM was trained on images scaled to [0, 1] and on nothing further.

Shape legend: B images, C channels, H x W a stage's map, n windows, s a window's side, N = s * s, E heads, D head width.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scripts.encoders.frozen import FrozenEncoder, strip_prefix, weights_state
from scripts.encoders.token_grid import Layout, TokenGrid
from scripts.kernels.bottleneck import bottleneck
from scripts.kernels.convolution import ChannelNorm, ConvNorm
from scripts.kernels.laid_out import KeptWeights, activated, laid_out_linear
from scripts.kernels.window_attention import attend

INPUT_SIZE = 256
WIDTHS = (64, 128, 160, 320)
DEPTHS = (2, 2, 6, 2)
HEADS = (None, 4, 5, 10)
WINDOWS = (None, 7, 14, 7)
STRIDES = (2, 2, 1)
NECK_CHANNELS = 256
NECK_SIDE = 64

# Names in the published checkpoint (under "image_encoder."), and ours.
_RENAMES = (
    (r"^patch_embed\.seq\.0\.", "stem.0."),
    (r"^patch_embed\.seq\.2\.", "stem.2."),
    (r"^layers\.", "stages."),
    (r"\.downsample\.conv1\.", ".downsample.0."),
    (r"\.downsample\.conv2\.", ".downsample.2."),
    (r"\.downsample\.conv3\.", ".downsample.4."),
    (r"\.blocks\.(\d+)\.conv1\.", r".blocks.\1.expand."),
    (r"\.blocks\.(\d+)\.conv2\.", r".blocks.\1.depthwise."),
    (r"\.blocks\.(\d+)\.conv3\.", r".blocks.\1.project."),
    (r"\.attn\.attention_biases$", ".attention.offset_bias"),
    (r"\.attn\.", ".attention."),
    (r"\.mlp\.norm\.", ".mlp.0."),
    (r"\.mlp\.fc1\.", ".mlp.1."),
    (r"\.mlp\.fc2\.", ".mlp.3."),
    (r"\.local_conv\.", ".local."),
    (r"\.c\.", ".conv."),
    (r"\.bn\.", ".norm."),
)


class TinyViTEncoder(FrozenEncoder):
    """LiteMedSAM's image encoder: images ``[B, 3, H, H]`` in [0, 1] -> tokens ``[B, N, C]``.

    Args:
        weights: ``"starter"``, the path of a LiteMedSAM checkpoint, or None for random weights.
        layout: ``"spatial"`` (positions are tokens) or ``"channel"`` (256 tokens of 4,096).
        pool: average pooling of the 64 x 64 map; by default 4 in the spatial layout (256 tokens of 256).
        trainable_blocks: how many of the last blocks (12 in all) are tuned, or "all".

    Raises:
        WeightsError: the weights cannot be had or are another network's.
    """

    def __init__(
        self,
        *,
        weights: str | Path | None = "starter",
        layout: Layout = "spatial",
        pool: int | None = None,
        trainable_blocks: int | Literal["all"] = 0,
    ) -> None:
        pool = pool if pool is not None else (4 if layout == "spatial" else 1)
        to_tokens = TokenGrid(channels=NECK_CHANNELS, side=NECK_SIDE, layout=layout, pool=pool)
        super().__init__(
            width=to_tokens.width,
            grid=to_tokens.grid,
            token_count=to_tokens.token_count,
            input_size=INPUT_SIZE,
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
            settings=to_tokens.settings,
        )
        self.to_tokens = to_tokens
        self.stem = nn.Sequential(ConvNorm(3, WIDTHS[0] // 2), nn.GELU(), ConvNorm(WIDTHS[0] // 2, WIDTHS[0]))
        self.stages = nn.ModuleList(Stage(index) for index in range(len(WIDTHS)))
        self.neck = nn.Sequential(
            nn.Conv2d(WIDTHS[-1], NECK_CHANNELS, 1, bias=False),
            ChannelNorm(NECK_CHANNELS),
            nn.Conv2d(NECK_CHANNELS, NECK_CHANNELS, 3, padding=1, bias=False),
            ChannelNorm(NECK_CHANNELS),
        )
        if weights is not None:
            self._load(weights)
        self.to(memory_format=torch.channels_last)
        self._freeze(trainable_blocks)

    def _load(self, weights: str | Path) -> None:
        from scripts.weights.loading import load_parameters, renamed_name

        state = strip_prefix(weights_state(weights, "detail_encoder"), "image_encoder.")
        own = set(self.state_dict())
        renamed = {name if name in own else renamed_name(name, _RENAMES): value for name, value in state.items()}
        load_parameters(self, renamed, source=str(weights), required=own)
        self.weights_source = weights

    def block_groups(self) -> list[list[nn.Module]]:
        groups = []
        for stage in self.stages:
            groups += [[block] for block in stage.blocks]
            groups[-1].append(stage.downsample)
        groups[-1].append(self.neck)
        return groups

    def features(self, pixels: Tensor) -> Tensor:
        """Feature map ``[B, 256, 64, 64]`` after the neck, what LiteMedSAM's mask decoder takes."""
        x = self.stem(pixels.contiguous(memory_format=torch.channels_last))
        for stage in self.stages:
            x = stage(x)
        return self.neck(x)

    def encode(self, pixels: Tensor) -> Tensor:
        """Tokens ``[B, N, C]`` of pixels ``[B, 3, 256, 256]``."""
        return self.to_tokens(self.features(pixels))


class Stage(nn.Module):
    """Blocks at one resolution, then the step to the next: convolutions in stage 0, window attention in the others."""

    def __init__(self, index: int) -> None:
        super().__init__()
        width, heads, window = WIDTHS[index], HEADS[index], WINDOWS[index]
        if heads is None:
            self.blocks = nn.Sequential(*(ConvBlock(width) for _ in range(DEPTHS[index])))
        else:
            self.blocks = nn.Sequential(*(WindowBlock(width, heads, window) for _ in range(DEPTHS[index])))
        self.downsample: nn.Module = nn.Identity()
        if index < len(STRIDES):
            self.downsample = Downsample(width, WIDTHS[index + 1], STRIDES[index])

    def forward(self, x: Tensor) -> Tensor:
        return self.downsample(self.blocks(x))


class Downsample(nn.Sequential):
    """``[B, C, H, W] -> [B, C', H/stride, W/stride]``: a bottleneck without residual."""

    def __init__(self, width: int, following: int, stride: int) -> None:
        super().__init__(
            ConvNorm(width, following),
            nn.GELU(),
            ConvNorm(following, following, kernel=3, stride=stride, groups=following),
            nn.GELU(),
            ConvNorm(following, following),
        )

    def forward(self, x: Tensor) -> Tensor:
        return bottleneck(x, self[0], self[2], self[4])


class ConvBlock(nn.Module):
    """Inverted bottleneck (expand 4 x, depthwise 3 x 3, project) with residual: ``[B, C, H, W]`` in and out."""

    def __init__(self, width: int, *, expansion: int = 4) -> None:
        super().__init__()
        hidden = width * expansion
        self.expand = ConvNorm(width, hidden)
        self.depthwise = ConvNorm(hidden, hidden, kernel=3, groups=hidden)
        self.project = ConvNorm(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return activated(bottleneck(x, self.expand, self.depthwise, self.project) + x, "gelu")


class WindowBlock(nn.Module):
    """Attention within windows, a depthwise convolution across them, an MLP: ``[B, C, H, W]`` in and out."""

    def __init__(self, width: int, heads: int, window: int, *, expansion: int = 4) -> None:
        super().__init__()
        self.window = window
        self.attention = OffsetAttention(width, heads, window)
        self.local = ConvNorm(width, width, kernel=3, groups=width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, width * expansion),
            nn.GELU(),
            nn.Linear(width * expansion, width),
        )
        self.kept = KeptWeights(), KeptWeights()

    def forward(self, x: Tensor) -> Tensor:
        batch, width, height, breadth = x.shape
        side = self.window
        rows, columns = -(-height // side), -(-breadth // side)
        tokens = x.permute(0, 2, 3, 1)  # a view: the map is kept channels-last
        # Zero positions that fill the last windows take part as keys: the published weights were trained so.
        padded = F.pad(tokens, (0, 0, 0, columns * side - breadth, 0, rows * side - height))
        windows = padded.view(batch, rows, side, columns, side, width).transpose(2, 3)
        attended = self.attention(windows.reshape(-1, side * side, width))
        attended = attended.view(batch, rows, columns, side, side, width).transpose(2, 3)
        attended = attended.reshape(batch, rows * side, columns * side, width)[:, :height, :breadth]
        tokens = self.local((tokens + attended).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        norm, widen, _, narrow = self.mlp
        wide = laid_out_linear(self.kept[0], widen, norm(tokens), "gelu")
        return (tokens + laid_out_linear(self.kept[1], narrow, wide)).permute(0, 3, 1, 2)


class OffsetAttention(nn.Module):
    """Self-attention in a window with a learned bias a head and absolute offset (LeViT): ``[n, N, C] -> [n, N, C]``."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.offset_bias = nn.Parameter(torch.zeros(heads, window * window))
        position = torch.arange(window)
        offset = (position[:, None] - position[None, :]).abs()
        index = offset[:, None, :, None] * window + offset[None, :, None, :]
        self.register_buffer("offset_index", index.reshape(window * window, -1), persistent=False)
        self.kept = KeptWeights(), KeptWeights()

    def forward(self, x: Tensor) -> Tensor:
        windows, count, _ = x.shape
        # Each head's query, key and value lie together in the published projection.
        qkv = laid_out_linear(self.kept[0], self.qkv, self.norm(x)).view(windows, count, self.heads, -1).transpose(1, 2)
        query, key, value = qkv.chunk(3, dim=-1)
        bias = self.offset_bias.index_select(1, self.offset_index.flatten()).view(self.heads, count, count)
        return laid_out_linear(self.kept[1], self.proj, attend(query, key, value, bias))
