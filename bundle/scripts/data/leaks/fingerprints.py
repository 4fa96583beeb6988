"""Fingerprints of images that survive resizing, recompression, cropping of a few per cent and another window.

Grey values are replaced by their ranks (histogram equalisation), which a monotone window does not change. Of the
equalised image ``[64, 64]`` the lowest frequencies are the *coarse* vector, with which many are searched; pairs that it
finds are compared in *detail*, aligned over crops and shifts, as `agreement` does.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from scripts.errors import InputError

SIDE = 64
"""Rows and columns of the equalised image."""
_CROPS = (
    (0.0, 0.0, 0.0, 0.0), (0.025, 0.025, 0.025, 0.025), (0.05, 0.05, 0.05, 0.05),
    (0.05, 0.0, 0.0, 0.0), (0.0, 0.05, 0.0, 0.0), (0.0, 0.0, 0.05, 0.0), (0.0, 0.0, 0.0, 0.05),
    (0.05, 0.05, 0.0, 0.0), (0.05, 0.0, 0.0, 0.05), (0.0, 0.05, 0.05, 0.0), (0.0, 0.0, 0.05, 0.05),
)  # fmt: skip
"""Shares that are cut off: left, top, right, bottom."""
_REACH = 3  # pixels of 64 that two images may be shifted against each other after a crop


@dataclass(frozen=True)
class Fingerprint:
    """Of one image file: SHA-256 of its bytes, and the equalised image ``[64, 64]`` uint8."""

    content: str
    detail: np.ndarray


def fingerprint(path: str) -> Fingerprint:
    """Read an image file, or a folder of a series, and take its fingerprint.

    Raises:
        InputError: it cannot be read as an image.
    """
    return Fingerprint(_content(path), equalised(_grey(path)))


def coarse_variants(details: np.ndarray, *, all_crops: bool) -> np.ndarray:
    """Unit vectors ``[N, K, 63]`` of equalised images ``[N, 64, 64]``: as they are (K = 1), or also cropped and widened
    by each of the crops (K = 21), so that the one image may be a part of the other."""
    boxes = _boxes() if all_crops else _boxes()[:1]
    images = _resampled(torch.from_numpy(details.astype(np.float32)), boxes, 32)
    basis = _cosines(8, 32)
    waves = (basis @ images @ basis.T).flatten(2)[..., 1:]
    return F.normalize(waves, dim=-1).numpy()


def agreement(first: np.ndarray, second: np.ndarray) -> float:
    """How far two equalised images ``[64, 64]`` show the same: correlation of their details, -1 to 1, at the best
    crop of either and the best shift."""
    pair = torch.from_numpy(np.stack([first, second]).astype(np.float32))
    boxes = _boxes()[: len(_CROPS)]
    cropped = _spectra(_resampled(pair, boxes, SIDE))  # [2, K, 64, 33]
    found = torch.fft.irfft2(cropped * cropped[:, :1].flip(0).conj(), s=(SIDE, SIDE))
    near = torch.cat([found[..., : _REACH + 1, :], found[..., -_REACH:, :]], dim=-2)
    near = torch.cat([near[..., : _REACH + 1], near[..., -_REACH:]], dim=-1)
    return float(near.max())


def equalised(grey: np.ndarray) -> np.ndarray:
    """Grey values ``[64, 64]`` in 0 to 255 as ranks 0 to 255 (uint8); equal values keep one rank, their middle."""
    counts = np.bincount(grey.astype(np.uint8).ravel(), minlength=256)
    ranks = (np.cumsum(counts) - counts / 2) / grey.size * 255
    return ranks[grey.astype(np.uint8)].astype(np.uint8)


def _spectra(images: torch.Tensor) -> torch.Tensor:
    """Fourier transforms of images without their slow parts and mean, tapered at the edges, each of unit length."""
    flat = images.flatten(0, 1)[:, None]
    blurred = F.avg_pool2d(F.pad(flat, (4, 4, 4, 4), mode="reflect"), 9, stride=1)
    smooth = F.avg_pool2d(F.pad(flat, (1, 1, 1, 1), mode="reflect"), 3, stride=1)
    window = torch.hann_window(SIDE + 2)[1:-1].sqrt()
    fast = (smooth - blurred) * window * window[:, None]
    fast = fast - fast.mean(dim=(-2, -1), keepdim=True)
    unit = fast / fast.flatten(1).norm(dim=1).clamp_min(1e-6)[:, None, None, None]
    return torch.fft.rfft2(unit[:, 0]).view(*images.shape[:2], SIDE, SIDE // 2 + 1)


def _boxes() -> torch.Tensor:
    """Boxes ``[21, 4]`` in shares of an image: the whole, its crops, and those that lie around it by as much."""
    crops = torch.tensor(_CROPS)
    inside = torch.stack([crops[:, 0], crops[:, 1], 1 - crops[:, 2], 1 - crops[:, 3]], dim=1)
    width, height = inside[1:, 2] - inside[1:, 0], inside[1:, 3] - inside[1:, 1]
    left, top = -inside[1:, 0] / width, -inside[1:, 1] / height
    return torch.cat([inside, torch.stack([left, top, left + 1 / width, top + 1 / height], dim=1)])


def _resampled(images: torch.Tensor, boxes: torch.Tensor, side: int) -> torch.Tensor:
    """Each image ``[N, H, W]`` seen through each box ``[K, 4]``: ``[N, K, side, side]``; edges go on outside."""
    count, many = len(images), len(boxes)
    centre = torch.stack([boxes[:, 0] + boxes[:, 2], boxes[:, 1] + boxes[:, 3]], dim=1) - 1
    scale = torch.stack([boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]], dim=1)
    theta = torch.zeros(many, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = scale[:, 0], scale[:, 1], centre
    grid = F.affine_grid(theta, [many, 1, side, side], align_corners=False)
    # Halving by the mean first keeps what lies between the points of a coarse grid.
    source = F.avg_pool2d(images[:, None], images.shape[-1] // side) if side < images.shape[-1] else images[:, None]
    stacked = source.transpose(0, 1).expand(many, count, *source.shape[-2:])
    seen = F.grid_sample(stacked, grid, padding_mode="border", align_corners=False)
    return seen.transpose(0, 1)


def _cosines(waves: int, points: int) -> torch.Tensor:
    """The first rows ``[waves, points]`` of the discrete cosine transform (DCT-II)."""
    place = torch.arange(points) + 0.5
    return torch.cos(torch.pi / points * torch.arange(waves)[:, None] * place[None])


def _grey(path: str) -> np.ndarray:
    """The image as 64 x 64 grey values 0 to 255 (float32), stretched to a square."""
    picture = _plain_picture(path)
    if picture is None:
        picture = _medical_picture(path)
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)


def _plain_picture(path: str) -> Image.Image | None:
    """An 8-bit picture as Pillow reads it; None for everything else, which the project's readers take."""
    if os.path.isdir(path) or not os.path.isfile(path):
        return None
    try:
        with Image.open(path) as image:
            if image.format == "DICOM" or image.mode not in ("L", "RGB", "RGBA", "P", "LA", "CMYK"):
                return None
            image.draft("L", (2 * SIDE, 2 * SIDE))
            plain = image.convert("RGBA").convert("RGB") if image.mode in ("P", "LA") else image
            return plain.convert("L")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _medical_picture(path: str) -> Image.Image:
    """The middle slice or frame of anything else, between its 1st and 99th percentile."""
    from scripts.reading import read_case

    pixels = read_case(path).pixels[0].mean(axis=0)
    low, high = np.percentile(pixels, (1, 99))
    if not high > low:
        raise InputError(f"{path}: its middle slice shows nothing to compare.")
    return Image.fromarray((np.clip((pixels - low) / (high - low), 0, 1) * 255).astype(np.uint8))


def _content(path: str) -> str:
    """SHA-256 over the bytes of a file; of a folder over all its files, in the order of their hashes."""
    if os.path.isdir(path):
        files = sorted(entry.path for entry in os.scandir(path) if os.path.isfile(entry))
        return hashlib.sha256("".join(sorted(map(_content, files))).encode()).hexdigest()
    try:
        with open(path.removesuffix("::series"), "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"image {path} cannot be read: {error.strerror or error}.") from error
