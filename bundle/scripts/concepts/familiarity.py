"""Familiarity: whether an image looks like those the networks know, before anything is said of it.

The concept reader's encoders turn every image into one point, its mean features at unit length. Points of medical
training images and points of other pictures (photographs, drawings, charts, screens, pages, noise, patterns) lie around
two centres with one covariance ``S``; the strangeness of a point x is by how much nearer it lies to the others,

    d(x, medical)^2 - d(x, others)^2,   d(x, c)^2 = (x - c)' S^-1 (x - c)            (Mahalanobis 1936; Fisher 1936)

which is linear in x. That is the relative distance of Ren et al. (2021, arXiv 2106.09022) with one covariance: a plain
distance to the medical images alone leaves one photograph in six with them. Images above one threshold are withheld.
`scripts.studies.fit_familiarity` makes the file.

Shape legend: B images, N tokens (one a view), C width of all encoders together, M and K points.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional as F

from scripts.errors import WeightsError
from scripts.given_values import switch
from scripts.weights.intact import read_safetensors, write_sealed_safetensors
from scripts.weights.loading import finite, weights_sha256

UNFAMILIAR = "does not look like a CT, MR, X-ray or ultrasound image: not captioned"
"""The sentence with which such an image is withheld."""


class Familiarity(nn.Module):
    """Strangeness of images by the tokens of the concept reader's encoders. No part of a checkpoint.

    Args:
        direction: ``[C]``; strangeness rises along it.
        offset: of the sum.
        threshold: images above it are withheld.
    """

    def __init__(self, direction: Tensor, offset: float, threshold: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("direction", direction.float(), persistent=False)
        self.offset, self.threshold = float(offset), float(threshold)

    def forward(self, tokens: Tensor, token_mask: Tensor | None = None) -> Tensor:
        """``[B, N, C]``, ``[B, N]`` -> strangeness ``[B]``, the mean over the real views of a case."""
        each = F.normalize(tokens.float(), dim=-1) @ self.direction + self.offset
        real = torch.ones_like(each) if token_mask is None else token_mask.to(each)
        return (each * real).sum(dim=1) / real.sum(dim=1).clamp(min=1)

    def strange(self, tokens: Tensor, token_mask: Tensor | None = None) -> Tensor:
        """``[B]`` bool: images that are not captioned."""
        return self(tokens, token_mask) > self.threshold


def fitted(medical: Tensor, others: Tensor, ridge: float = 0.5) -> Familiarity:
    """From mean features ``[M, C]`` of medical images and ``[K, C]`` of other pictures; threshold 0, half-way.

    Args:
        ridge: the covariance gets so many times its mean variance on the diagonal: features are more than images.
    """
    known, strange = (F.normalize(points.double(), dim=1) for points in (medical, others))
    covariance = 0.5 * (torch.cov(known.T) + torch.cov(strange.T))
    covariance += ridge * covariance.diagonal().mean() * torch.eye(len(covariance), dtype=torch.float64)
    direction = torch.linalg.solve(covariance, strange.mean(0) - known.mean(0)) * 2
    middle = 0.5 * (known.mean(0) + strange.mean(0))
    return Familiarity(direction, -float(direction @ middle))


def save_familiarity(familiarity: Familiarity, path: str | Path, reader: str | Path, about: dict[str, object]) -> Path:
    """Write it as safetensors, atomically, with the hash of the concept reader's file that it belongs to."""
    values = torch.tensor([familiarity.offset, familiarity.threshold], dtype=torch.float64)
    tensors = {"direction": familiarity.direction.float().contiguous(), "offset_and_threshold": values}
    metadata = {"reader": next(iter(weights_sha256(reader).values())), "about": json.dumps(about)}
    return write_sealed_safetensors(path, tensors, metadata)


def load_familiarity(path: str | Path, reader: str | Path, *, anything: bool = False) -> Familiarity | None:
    """Read what :func:`save_familiarity` wrote.

    Args:
        path: ``""`` for none.
        reader: file of the concept reader in use, ``""`` for none: without one nothing is known.
        anything: caption whatever is given.

    Returns:
        None where images are not looked at: asked for, no file, no concept reader, or (with a warning) another one.

    Raises:
        WeightsError: the file is damaged.
    """
    if switch(anything) or not str(path) or not str(reader) or not Path(path).is_file():
        return None
    again = "run python -m scripts.studies.fit_familiarity again, or set familiarity to ''"
    try:
        metadata, tensors = read_safetensors(path)
        fitted_for, values = metadata["reader"], tensors["offset_and_threshold"].tolist()
        found = Familiarity(finite(tensors["direction"], "direction", str(path)), *values)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} does not say which images are known ({error}): {again}") from None
    if Path(reader).is_file() and fitted_for not in weights_sha256(reader).values():
        warnings.warn(f"{Path(path).name} was fitted for another concept reader and is not used: {again}", stacklevel=2)
        return None
    return found.eval()
