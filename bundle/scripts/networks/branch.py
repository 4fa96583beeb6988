"""Branch: a frozen encoder, what prepares its tokens, and the Q-Former that reads them.

A network has one branch (``general`` alone is BLIP-2, ``detail`` alone SAM-BLIP2) or two (MSMedCap).

Shape legend: B images, V views of one case, N tokens of one view, C encoder width, Q queries, H Q-Former width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scripts.networks.qformer import EncoderMemory, QFormer


def token_names(encoders: Iterable[str]) -> tuple[str, ...]:
    """What a batch calls the cached tokens of these encoders, and their masks."""
    return tuple(f"{name}_tokens{part}" for name in encoders for part in ("", "_mask"))


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


def encoder_tokens(
    encoder: nn.Module,
    image: Tensor | None = None,
    image_mask: Tensor | None = None,
    cached: Tensor | None = None,
    cached_mask: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Tokens ``[B, V * N, C]`` and mask: the cached ones where given (then the encoder does not run).

    Raises:
        ValueError: there are neither images nor cached tokens.
    """
    if cached is not None:
        return cached, cached_mask
    if image is None:
        raise ValueError("an encoder needs either images or its cached tokens")
    return tokens_of_views(encoder, image, image_mask)


class TokenStandardization(nn.Module):
    """Each channel of the encoder tokens to mean 0 and variance 1 over images and positions, then a trained scale.

    A frozen encoder's channels have large means that all images share; a norm over channels keeps them, so that the
    part that tells images apart starts small. Measured on the starter's detail branch, ITC alone, batches of 24, mean
    of steps 75 to 100: 2.39 against 2.66 (chance is 3.18). Mean and variance are those of training cases, taken once
    by :func:`fit_standardization` and stored with the weights: a case never depends on its batch, nor on the number
    of processes.
    """

    def __init__(self, width: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def fit(self, tokens: Tensor) -> None:
        """Take mean and variance of ``[M, C]``."""
        self.mean.copy_(tokens.float().mean(dim=0))
        self.variance.copy_(tokens.float().var(dim=0, unbiased=False))
        self.fitted.fill_(tokens.shape[0])

    def forward(self, tokens: Tensor) -> Tensor:
        """``[..., C] -> [..., C]``."""
        scale = self.weight * torch.rsqrt(self.variance + self.eps)
        return tokens * scale + (self.bias - self.mean * scale)


class Branch(nn.Module):
    """Image or cached tokens in, Q-Former query states out.

    Args:
        encoder: a frozen encoder with ``width`` (C) and ``token_count`` (N).
        qformer: the Q-Former, built for the encoder's width.
        normalize_tokens: ``True`` for a trained LayerNorm on the tokens (BLIP-2's ``ln_vision``), ``False`` for none
            (the official SAM branch), ``"standardize"`` for :class:`TokenStandardization`.
        token_positions: trained position embeddings ``[N, C]`` added to the tokens, starting at zero. For encoders
            whose tokens do not tell where they are (a convolutional network); no part of the paper.
    """

    def __init__(
        self,
        *,
        encoder: nn.Module,
        qformer: QFormer,
        normalize_tokens: bool | Literal["standardize"] = True,
        token_positions: bool = False,
    ) -> None:
        super().__init__()
        if qformer.encoder_width != encoder.width:
            raise ValueError(
                f"the Q-Former was built for tokens {qformer.encoder_width} wide, the encoder gives {encoder.width}"
            )
        self.encoder = encoder
        self.token_norm = _token_norm(normalize_tokens, encoder.width)
        self.token_positions = (
            nn.Parameter(torch.zeros(encoder.token_count, encoder.width)) if token_positions else None
        )
        self.qformer = qformer

    def encode(self, image: Tensor, image_mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Frozen encoder tokens ``[B, V * N, C]`` and mask: exactly what a feature cache stores."""
        return tokens_of_views(self.encoder, image, image_mask)

    def project(self, tokens: Tensor, token_mask: Tensor | None = None) -> EncoderMemory:
        """Normalise tokens ``[B, V * N, C]``, add positions, project keys and values once."""
        tokens = tokens.to(self.qformer.query_tokens.dtype)
        if self._leaves_affine_to_projections():
            norm = self.token_norm
            tokens = F.layer_norm(tokens, norm.normalized_shape, eps=norm.eps)
            return self.qformer.project(tokens, token_mask, (norm.weight, norm.bias))
        tokens = self.token_norm(tokens)
        if self.token_positions is not None:
            views = tokens.shape[1] // self.token_positions.shape[0]
            tokens = tokens + self.token_positions.repeat(views, 1)
        return self.qformer.project(tokens, token_mask)

    def _leaves_affine_to_projections(self) -> bool:
        """Whether the norm's trained scale and shift act on projection weights: quicker where they learn."""
        learns = torch.is_grad_enabled() and isinstance(self.token_norm, nn.LayerNorm)
        return learns and self.token_positions is None and not self.qformer.absorbed

    def forward(self, tokens: Tensor, token_mask: Tensor | None = None) -> Tensor:
        """Query states ``[B, Q, H]`` of encoder tokens ``[B, V * N, C]``."""
        return self.qformer(self.project(tokens, token_mask))


def _token_norm(kind: bool | str, width: int) -> nn.Module:
    if kind == "standardize":
        return TokenStandardization(width)
    if not isinstance(kind, bool):
        raise ValueError(f"normalize_tokens is true, false or 'standardize', not {kind!r}")
    return nn.LayerNorm(width, eps=1e-5) if kind else nn.Identity()


@torch.no_grad()
def fit_standardization(network: nn.Module, dataset: Sequence[Mapping[str, Tensor]], *, cases: int = 256) -> None:
    """Give every :class:`TokenStandardization` that has no statistics yet those of training cases.

    Call it after pretrained weights were loaded and before training; every process takes the same cases.

    Args:
        network: a ``PretrainingNetwork`` or a ``CaptionNetwork``.
        dataset: cases with ``image``, or with cached ``general_tokens`` / ``detail_tokens`` ``[N, C]``.
        cases: how many, evenly spaced.
    """
    branches = {name: getattr(module, "branch", module) for name, module in network.branches.items()}
    waiting = {
        name: branch
        for name, branch in branches.items()
        if isinstance(branch.token_norm, TokenStandardization) and not int(branch.token_norm.fitted)
    }
    if not waiting:
        return
    found: dict[str, list[Tensor]] = {name: [] for name in waiting}
    step = max(1, len(dataset) // cases)
    for index in range(0, len(dataset), step):
        case = dataset[index]
        for name, branch in waiting.items():
            tokens = case.get(f"{name}_tokens")
            if tokens is None:
                image = torch.as_tensor(case["image"]).to(branch.token_norm.mean.device)
                tokens = branch.encode(image[None] if image.ndim == 3 else image)[0].flatten(0, 1)
            found[name].append(torch.as_tensor(tokens).float().cpu())
    for name, branch in waiting.items():
        branch.token_norm.fit(torch.cat(found[name]).to(branch.token_norm.mean.device))
