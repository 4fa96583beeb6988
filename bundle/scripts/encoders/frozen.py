"""Base of every image encoder: one input convention, its own resizing and normalisation inside, frozen weights.

Because each encoder takes the same image in [0, 1] and normalises it itself, no second code path can feed it wrong
pixels.

Shape legend: B images, H rows, W columns, S the encoder's own input size, N tokens, C width, h x w the token grid.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scripts.errors import InputError
from scripts.kernels.matmul import exact_fast_matmul

_NORMS = (nn.modules.batchnorm._BatchNorm,)
_SUFFIXES = (".pt", ".pth", ".bin", ".safetensors")


class FrozenEncoder(nn.Module, ABC):
    """Base of all encoders: ``[B, 3, H, W]`` in [0, 1] -> tokens ``[B, N, C]``.

    A subclass builds its layers, calls :meth:`_freeze` last, and implements :meth:`encode` and :meth:`block_groups`.

    Args:
        width: C.
        grid: ``(h, w)`` of the spatial tokens, None where tokens are not positions.
        leading_tokens: tokens before the grid (a class token).
        token_count: N; ``leading_tokens + h * w`` by default.
        input_size: S, the side of the square that the network sees.
        mean: per-channel mean of the pixels that the network was trained on, in [0, 1] units.
        std: per-channel standard deviation likewise.
        interpolation: how images of another size are resized (always antialiased).
        settings: whatever else changes the tokens; goes into :meth:`fingerprint`.
    """

    weights_source: str | Path | None = None
    """Where the weights came from; there may be more, such as SAM's mask decoder. None: they are random."""
    batch_statistics = False  # of tuned blocks: batch normalisation by the batch, not by what the weights came with
    revision = 1  # raise it in a subclass when its maths change, so that feature caches notice

    def __init__(
        self,
        *,
        width: int,
        grid: tuple[int, int] | None,
        input_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        leading_tokens: int = 0,
        token_count: int | None = None,
        interpolation: Literal["bilinear", "bicubic"] = "bilinear",
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.width = width
        self.grid = grid
        self.leading_tokens = leading_tokens
        self.token_count = token_count if grid is None else leading_tokens + grid[0] * grid[1]
        self.input_size = input_size
        self.interpolation = interpolation
        self.settings = dict(settings or {})
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self._tuned: list[nn.Module] = []

    @abstractmethod
    def encode(self, pixels: Tensor) -> Tensor:
        """Tokens ``[B, N, C]`` of normalised pixels ``[B, 3, S, S]``."""

    @abstractmethod
    def block_groups(self) -> list[list[nn.Module]]:
        """The network's blocks in the order data flows; whatever follows the last block belongs to its group."""

    def forward(self, image: Tensor) -> Tensor:
        """Tokens ``[B, N, C]`` of square images ``[B, 3, H, H]`` in [0, 1].

        Raises:
            InputError: the batch has another shape, or holds integers.
        """
        with exact_fast_matmul(image.device):
            return self.encode(self.prepare(image))

    def prepare(self, image: Tensor) -> Tensor:
        """Normalised pixels ``[B, 3, S, S]``, in the precision of the weights."""
        if image.ndim != 4 or image.shape[1] != 3 or image.shape[2] != image.shape[3]:
            raise InputError(
                f"an encoder takes square images [B, 3, H, H], not {tuple(image.shape)}: letterbox and stack them first"
            )
        if not image.is_floating_point():
            raise InputError(f"an encoder takes floating-point images in [0, 1], not {image.dtype}: scale them first")
        image = image.as_subclass(Tensor).float()  # a MetaTensor's bookkeeping at every operation costs, and ends here
        if image.shape[-1] != self.input_size:
            size = (self.input_size, self.input_size)
            image = F.interpolate(image, size=size, mode=self.interpolation, antialias=True)
            if self.interpolation == "bicubic":  # it overshoots at edges
                image = image.clamp(0.0, 1.0)
        pixels = (image - self.mean.float()) / self.std.float()
        return pixels.to(next(self.parameters()).dtype)

    @property
    def is_frozen(self) -> bool:
        """Whether no weight is trained; only then may tokens come from a cache."""
        return not self._tuned

    def train(self, mode: bool = True) -> FrozenEncoder:
        """Frozen blocks stay in eval mode; tuned ones follow ``mode``, their normalisation only where asked to."""
        super().train(False)
        if mode and self._tuned:
            self.training = True
            for module in self._tuned:
                module.train(True)
            for module in self.modules() if not self.batch_statistics else ():
                if isinstance(module, _NORMS):
                    module.eval()
        return self

    def _freeze(self, trainable_blocks: int | Literal["all"] = 0) -> None:
        """Freeze everything but the last ``trainable_blocks`` blocks (and what follows them), or nothing for "all"."""
        self.requires_grad_(False)
        groups = self.block_groups()
        if trainable_blocks == "all":
            self._tuned = list(self.children())
        elif isinstance(trainable_blocks, int) and 0 <= trainable_blocks <= len(groups):
            self._tuned = [module for group in groups[len(groups) - trainable_blocks :] for module in group]
        else:
            raise InputError(
                f'trainable_blocks is a number from 0 to {len(groups)} or "all" for {type(self).__name__}, '
                f"not {trainable_blocks!r}"
            )
        for module in self._tuned:
            module.requires_grad_(True)
        self.train(False)

    def fingerprint(self) -> str:
        """SHA-256 over weights and settings: equal fingerprints give equal tokens for equal images."""
        digest = hashlib.sha256(json.dumps(self._identity(), sort_keys=True).encode())
        for name, value in sorted(self.state_dict().items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()

    def _identity(self) -> dict[str, Any]:
        return {
            "class": type(self).__name__,
            "revision": self.revision,
            "input_size": self.input_size,
            "interpolation": self.interpolation,
            "mean": self.mean.flatten().tolist(),
            "std": self.std.flatten().tolist(),
            **self.settings,
        }


def weights_state(weights: str | Path, starter_part: str | None = None) -> dict[str, Tensor]:
    """State dict of a file, of a model folder, of a hub name, or of a starter part for ``"starter"``.

    Raises:
        WeightsError: there is no such file, folder or cached hub model, it is damaged, or the starter part cannot be
            had.
    """
    from scripts.weights.files import model_files
    from scripts.weights.loading import read_state

    if weights == "starter" and starter_part is not None:
        from scripts.weights.starter import starter_file

        return read_state(starter_file(starter_part))
    path = Path(weights)
    if path.is_file() or path.suffix in _SUFFIXES:
        return read_state(path)
    return {name: value for file in model_files(weights) for name, value in read_state(file).items()}


def strip_prefix(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries under ``prefix`` without it; all of them where none has it."""
    inner = {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}
    return inner or dict(state)
