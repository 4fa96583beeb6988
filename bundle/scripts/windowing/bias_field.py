"""N4 bias field correction of MR slices (Tustison et al., IEEE TMI 29:1310, 2010), by ITK."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import interpolate

from scripts.errors import InputError

_SHORT_SIDE = 64
"""Pixels of the shorter side at which the field is estimated; it is smooth, so this loses nothing that matters."""

_LEVELS = 3
"""Times that the mesh of the field is refined."""


def correct_bias(pixels: np.ndarray, path: str) -> np.ndarray:
    """``[V, 1, H, W]`` divided by its bias field, view by view; float32, the same shape.

    The field is estimated on a shrunken copy, inside a mask of what is brighter than a fifth of the 99th percentile,
    and enlarged bilinearly.

    Raises:
        InputError: the slice is almost empty, so that there is nothing to estimate from.
    """
    corrected = [view / _field(view[0], path)[None] for view in pixels.astype(np.float32)]
    return np.stack(corrected)


def _field(image: np.ndarray, path: str) -> np.ndarray:
    """The multiplicative bias field of ``[H, W]``, 1 on average inside the mask."""
    import itk

    step = max(1, min(image.shape) // _SHORT_SIDE)
    rows, columns = (side // step for side in image.shape)
    small = image[: rows * step, : columns * step].reshape(rows, step, columns, step).mean(axis=(1, 3))
    small = small - min(0.0, float(small.min())) + 1e-3 * float(np.ptp(small)) + 1e-6
    mask = small > 0.2 * float(np.percentile(small, 99))
    if mask.mean() < 0.01:
        raise InputError(f"{path}: is almost empty, so its bias field cannot be estimated; use window 'auto'")
    kind, mask_kind = itk.Image[itk.F, 2], itk.Image[itk.UC, 2]
    n4 = itk.N4BiasFieldCorrectionImageFilter[kind, mask_kind, kind].New()
    n4.SetInput(itk.image_from_array(small.astype(np.float32)))
    n4.SetMaskImage(itk.image_from_array(mask.astype(np.uint8)))
    n4.SetMaskLabel(1)
    n4.SetNumberOfFittingLevels([_LEVELS] * 2)
    n4.SetMaximumNumberOfIterations([50] * _LEVELS)
    n4.Update()
    output = itk.array_from_image(n4.GetOutput())
    field = np.where(output > 0, small / np.maximum(output, 1e-12), 1.0)
    field = field / field[mask].mean()
    enlarged = interpolate(torch.from_numpy(field[None, None].astype(np.float32)), size=image.shape, mode="bilinear",
                           align_corners=False)  # fmt: skip
    return enlarged[0, 0].clamp_min(0.05).numpy()
