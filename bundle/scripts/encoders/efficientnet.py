"""EfficientNet-Lite0, the starter's general encoder: 3 x 224 x 224 -> 1280 x 7 x 7.

It was trained on ImageNet labels. It is not CLIP: it never saw text, and stands where the paper has EVA-CLIP only
because its weights install with pip.

EfficientNet: Tan and Le, ICML 2019 (arXiv 1905.11946). The Lite variant (tensorflow/tpu, efficientnet/lite) has no
squeeze-and-excitation, uses ReLU6, and normalises pixels as (value - 127) / 128.

Shape legend: B images, C channels, H x W a feature map.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from scripts.encoders.frozen import FrozenEncoder, weights_state
from scripts.encoders.token_grid import TokenGrid
from scripts.errors import InputError
from scripts.kernels.convolution import ConvNorm

__all__ = ["EfficientNetEncoder"]

STEM_CHANNELS = 32
HEAD_CHANNELS = 1280
REDUCTION = 32
NORM_EPS = 1e-3
STATISTICS_MOMENTUM = 0.05  # twenty batches' memory: one batch of 32 tells little of 1280 channels


class Stage(NamedTuple):
    repeats: int
    kernel: int
    stride: int
    expansion: int
    outputs: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)

# Names in the published checkpoint, and ours.
_RENAMES = (
    (r"^_conv_stem\.", "stem.conv."),
    (r"^_bn0\.", "stem.norm."),
    (r"^_conv_head\.", "head.conv."),
    (r"^_bn1\.", "head.norm."),
    (r"^_blocks\.", "blocks."),
    (r"\._expand_conv\.", ".expand.conv."),
    (r"\._bn0\.", ".expand.norm."),
    (r"\._depthwise_conv\.", ".depthwise.conv."),
    (r"\._bn1\.", ".depthwise.norm."),
    (r"\._project_conv\.", ".project.conv."),
    (r"\._bn2\.", ".project.norm."),
)


class EfficientNetEncoder(FrozenEncoder):
    """EfficientNet-Lite0 without its classifier: images ``[B, 3, H, H]`` in [0, 1] -> tokens ``[B, N, 1280]``.

    Args:
        weights: ``"starter"``, the path of a checkpoint (published or our names), or None for random weights.
        input_size: side of the square that the network sees, a multiple of 32; 224 gives 7 x 7 tokens.
        trainable_blocks: how many of the last blocks (16 in all) are tuned with the head, or "all".
        batch_statistics: tuned blocks normalise by their batches, and follow their statistics, while they are trained.
            Images of another kind than ImageNet's have other statistics; and noise in them keeps a few thousand
            images from being learned by heart.

    Raises:
        InputError: ``input_size`` is no multiple of 32.
        WeightsError: the weights cannot be had or are another network's.
    """

    def __init__(
        self,
        *,
        weights: str | Path | None = "starter",
        input_size: int = 224,
        trainable_blocks: int | Literal["all"] = 0,
        batch_statistics: bool = False,
    ) -> None:
        if input_size < REDUCTION or input_size % REDUCTION:
            raise InputError(f"input_size of EfficientNet-Lite0 is a multiple of {REDUCTION}, not {input_size}")
        to_tokens = TokenGrid(channels=HEAD_CHANNELS, side=input_size // REDUCTION)
        super().__init__(
            width=to_tokens.width,
            grid=to_tokens.grid,
            input_size=input_size,
            mean=(127 / 255,) * 3,
            std=(128 / 255,) * 3,
            interpolation="bicubic",
        )
        self.to_tokens = to_tokens
        self.stem = ConvNorm(3, STEM_CHANNELS, kernel=3, stride=2, eps=NORM_EPS, same=True)
        self.blocks = nn.ModuleList()
        inputs = STEM_CHANNELS
        for stage in STAGES:
            for repeat in range(stage.repeats):
                self.blocks.append(Block(inputs, stage, stride=stage.stride if repeat == 0 else 1))
                inputs = stage.outputs
        self.head = ConvNorm(inputs, HEAD_CHANNELS, eps=NORM_EPS)
        if weights is not None:
            self._load(weights)
        self.to(memory_format=torch.channels_last)
        self.batch_statistics = batch_statistics
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = STATISTICS_MOMENTUM
        self._freeze(trainable_blocks)

    def _load(self, weights: str | Path) -> None:
        from scripts.weights.loading import load_parameters, renamed_name

        own = set(self.state_dict())
        state = weights_state(weights, "general_encoder")
        renamed = {name if name in own else renamed_name(name, _RENAMES): value for name, value in state.items()}
        load_parameters(self, renamed, source=str(weights), required=own, may_ignore=("_fc.*",))

    def block_groups(self) -> list[list[nn.Module]]:
        groups: list[list[nn.Module]] = [[block] for block in self.blocks]
        groups[-1].append(self.head)
        return groups

    def features(self, pixels: Tensor) -> Tensor:
        """Feature map ``[B, 1280, S/32, S/32]`` of normalised pixels ``[B, 3, S, S]``.

        Autocast ends here, but while the network is tuned. It would save a hundredth of a caption's time on a CPU, and
        in bfloat16 these features are so far off that a mammogram was called a chest X-ray.
        """
        with nullcontext() if self.training else torch.autocast(pixels.device.type, enabled=False):
            x = self.stem(pixels.contiguous(memory_format=torch.channels_last), "relu6")
            for block in self.blocks:
                x = block(x)
            return self.head(x, "relu6")

    def encode(self, pixels: Tensor) -> Tensor:
        """Tokens ``[B, N, 1280]``, the feature map's positions row by row."""
        return self.to_tokens(self.features(pixels))


class Block(nn.Module):
    """Inverted bottleneck: ``[B, C, H, W] -> [B, C', H/stride, W/stride]``, residual where the shape stays."""

    def __init__(self, inputs: int, stage: Stage, *, stride: int) -> None:
        super().__init__()
        hidden = inputs * stage.expansion
        self.expand = ConvNorm(inputs, hidden, eps=NORM_EPS) if stage.expansion > 1 else None
        self.depthwise = ConvNorm(
            hidden, hidden, kernel=stage.kernel, stride=stride, groups=hidden, eps=NORM_EPS, same=True
        )
        self.project = ConvNorm(hidden, stage.outputs, eps=NORM_EPS)
        self.residual = stride == 1 and inputs == stage.outputs

    def forward(self, x: Tensor) -> Tensor:
        hidden = x if self.expand is None else self.expand(x, "relu6")
        out = self.project(self.depthwise(hidden, "relu6"))
        return out + x if self.residual else out
