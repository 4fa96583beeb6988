"""Convolution with batch normalisation folded in, and layer normalisation over channels.

On its stored statistics batch normalisation is an affine map, which folds into the convolution's weight: the
activations, which are far larger than the weights, are read once less. Only an encoder that is tuned with
``batch_statistics`` normalises by its batches.

Shape legend: B images, C channels, H rows, W columns.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scripts.kernels.depthwise import depthwise
from scripts.kernels.laid_out import KeptWeights, activated, laid_out_convolution, laid_out_type, state_of

__all__ = ["ChannelNorm", "ConvNorm", "same_padding"]


class ConvNorm(nn.Module):
    """Bias-free convolution, then batch normalisation with stored statistics: ``[B, C, H, W] -> [B, C', H', W']``.

    Args:
        inputs: C.
        outputs: C'.
        kernel: side of the kernel.
        stride: step of the kernel.
        groups: groups of the convolution; ``inputs`` makes it depthwise.
        eps: of the normalisation.
        same: pad as TensorFlow's SAME does (more at the end than at the start where it does not come out even).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        eps: float = 1e-5,
        same: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=eps)
        self.same = same
        self.kept = KeptWeights()

    def forward(self, x: Tensor, activation: str = "", *, pad_rows: bool = True) -> Tensor:
        """``activation``: ``gelu`` or ``relu6`` of the result.

        ``pad_rows=False``: the caller has put the rows above and below that the kernel sees.
        """
        norm, conv = self.norm, self.conv
        kernel, stride = conv.kernel_size[0], conv.stride[0]
        padding = (kernel // 2 if pad_rows else 0, kernel // 2)
        if self.same and stride > 1:
            x, padding = F.pad(x, same_padding(x.shape[-2:], kernel, stride)), (0, 0)
        if norm.training:
            return activated(norm(self._convolved(x, stride, padding)), activation)
        parts = (conv.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var)
        dtype = laid_out_type(x, *parts)
        if dtype is not None:
            state = tuple(state_of(part) for part in parts)
            sizes = {"stride": stride, "padding": padding, "groups": conv.groups, "activation": activation}
            return laid_out_convolution(self.kept, x, dtype, state, self._folded, **sizes)
        return activated(F.conv2d(x, *self._folded(), stride, padding, groups=conv.groups), activation)

    def _convolved(self, x: Tensor, stride: int, padding: tuple[int, int]) -> Tensor:
        conv = self.conv
        if conv.groups == conv.in_channels > 1:
            return depthwise(x, conv.weight, stride, padding)
        return F.conv2d(x, conv.weight, None, stride, padding, groups=conv.groups)

    def _folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the convolution with the normalisation in them."""
        norm = self.norm
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        return self.conv.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale


def same_padding(size: tuple[int, int], kernel: int, stride: int) -> tuple[int, int, int, int]:
    """TensorFlow's SAME padding for ``F.pad``: (left, right, top, bottom)."""
    edges = []
    for length in reversed(size):
        total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
        edges += [total // 2, total - total // 2]
    return tuple(edges)


class ChannelNorm(nn.Module):
    """Layer normalisation over C of ``[B, C, H, W]``."""

    def __init__(self, channels: int, *, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, self.eps).permute(
            0, 3, 1, 2
        )
