"""SAM's prompt encoder: points, boxes and coarse masks as embeddings.

Kirillov et al., Segment Anything, ICCV 2023 (arXiv 2304.02643), appendix A. Places are encoded by random Fourier
features (Tancik et al., NeurIPS 2020), kinds of points by one learned embedding each.

Shape legend: B prompts, K points of each, C width, g side of the feature map, S side of the image that the encoder saw.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from scripts.kernels.convolution import ChannelNorm

BACKGROUND, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT, NO_POINT = 0, 1, 2, 3, -1


class PromptEncoder(nn.Module):
    """Prompts in pixels of the encoder's square -> embeddings for the mask decoder.

    Args:
        input_size: S.
        grid: g.
        width: C, even.
        mask_channels: hidden channels of the mask path.
    """

    def __init__(self, *, input_size: int, grid: int, width: int = 256, mask_channels: int = 16) -> None:
        super().__init__()
        self.input_size = input_size
        self.grid = grid
        self.register_buffer("frequencies", torch.randn(2, width // 2))
        self.kinds = nn.Parameter(torch.zeros(4, width))
        self.padding = nn.Parameter(torch.zeros(1, width))
        self.no_mask = nn.Parameter(torch.zeros(1, width))
        self.shrink = nn.Sequential(
            nn.Conv2d(1, mask_channels // 4, 2, stride=2),
            ChannelNorm(mask_channels // 4),
            nn.GELU(),
            nn.Conv2d(mask_channels // 4, mask_channels, 2, stride=2),
            ChannelNorm(mask_channels),
            nn.GELU(),
            nn.Conv2d(mask_channels, width, 1),
        )

    def encode_places(self, places: Tensor) -> Tensor:
        """Fourier features ``[..., C]`` of places ``[..., 2]`` (x, y) in [0, 1]."""
        angles = 2 * math.pi * ((2 * places - 1) @ self.frequencies)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    def grid_places(self) -> Tensor:
        """Features ``[1, C, g, g]`` of the centres of the feature map's cells."""
        centres = (torch.arange(self.grid, device=self.frequencies.device) + 0.5) / self.grid
        rows, columns = torch.meshgrid(centres, centres, indexing="ij")
        return self.encode_places(torch.stack([columns, rows], dim=-1)).permute(2, 0, 1)[None]

    def forward(
        self, points: Tensor | None = None, labels: Tensor | None = None, boxes: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Sparse ``[B, K', C]`` and dense ``[B, C, g, g]`` embeddings.

        Args:
            points: ``[B, K, 2]`` (x, y), pixel indices in the encoder's square.
            labels: ``[B, K]``, 1 in the object, 0 not in it, -1 for padding.
            boxes: ``[B, 4]`` (left, top, right, bottom), pixel indices.
            masks: ``[B, 1, 4g, 4g]`` logits of an earlier answer.

        Raises:
            ValueError: no prompt at all.
        """
        given = next((prompt for prompt in (points, boxes, masks) if prompt is not None), None)
        if given is None:
            raise ValueError("a mask needs a prompt: give points, boxes or masks")
        sparse = self.no_mask.new_zeros(len(given), 0, self.no_mask.shape[-1])
        if points is not None:
            sparse = self._points(points, labels, pad=boxes is None)
        if boxes is not None:
            corners = self._at(boxes.unflatten(-1, (2, 2))) + self.kinds[TOP_LEFT : BOTTOM_RIGHT + 1]
            sparse = torch.cat([sparse, corners], dim=1)
        if masks is not None:
            return sparse, self.shrink(masks)
        return sparse, self.no_mask[..., None, None].expand(len(given), -1, self.grid, self.grid)

    def _at(self, pixels: Tensor) -> Tensor:
        """Features of pixel centres."""
        return self.encode_places((pixels.float() + 0.5) / self.input_size)

    def _points(self, points: Tensor, labels: Tensor, *, pad: bool) -> Tensor:
        """Points without a box are followed by one empty point, as in training."""
        embedded = self._at(points)
        if pad:
            embedded = torch.cat([embedded, embedded.new_zeros(len(points), 1, embedded.shape[-1])], dim=1)
            labels = torch.cat([labels, labels.new_full((len(labels), 1), NO_POINT)], dim=1)
        real = (labels != NO_POINT)[..., None]
        kinds = torch.where(real, self.kinds[labels.clamp_min(0)], self.padding)
        return embedded * real + kinds
