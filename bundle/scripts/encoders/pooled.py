"""Several encoders as one: each image's mean tokens side by side, for linear readers that average their opinions.

Shape legend: B images, M members, C_m their widths, N_m their tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from scripts.encoders.frozen import FrozenEncoder


class PooledEncoders(nn.Module):
    """``[B, 3, H, H]`` in [0, 1] -> one token ``[B, 1, C_1 + ... + C_M]``: what a feature cache stores of a reader.

    Args:
        members: M encoders; each resizes and normalises the image itself.
    """

    token_count = 1
    grid = None

    def __init__(self, members: Sequence[FrozenEncoder]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.width = sum(member.width for member in members)

    def forward(self, image: Tensor) -> Tensor:
        """The mean over tokens ``[B, N_m, C_m]`` of each member, in float32."""
        return torch.cat([member(image).float().mean(dim=1) for member in self.members], dim=1)[:, None]

    def fingerprint(self) -> str:
        """SHA-256 over the members' fingerprints, which hold their weights and settings."""
        return hashlib.sha256(" ".join(member.fingerprint() for member in self.members).encode()).hexdigest()
